package core_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// A login that was given up may be written after all, and after a disconnect.
func TestDisconnectFencesLateLogins(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.start()
		var late func() error
		a.store.watch(func(c storeCall) error {
			if c.op == "commit" && late == nil {
				late = c.late
				return errStoreDown
			}
			return c.do()
		})
		_, err := a.Import(t.Context(), w.srv.Issue(alice).RefreshToken)
		require.ErrorIs(t, err, core.ErrUnavailable)
		require.NoError(t, a.Disconnect(t.Context(), alice))
		require.ErrorIs(t, late(), core.ErrConflict)
		require.ErrorIs(t, a.tokenErr(t, time.Second), core.ErrReconnect)
	})
}

// A login that comes between Disconnect's look and its write stays, with
// everything that a revocation of the older tokens could end.
func TestDisconnectOfWhatALoginReplaced(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.srv.Configure(func(s *mxmtest.Settings) { s.Revocation = true })
		revoking := func(c *core.Config) { c.Endpoint.RevocationURL = w.srv.URL + "/oauth/revoke" }
		a, b := w.start(revoking), w.start(revoking)
		w.signIn(a)
		a.store.watch(func(c storeCall) error {
			if c.op == "commit" && c.n == 1 {
				w.signIn(b)
			}
			return c.do()
		})
		require.NoError(t, a.Disconnect(t.Context(), alice))
		for _, r := range w.srv.Requests() {
			require.NotEqual(t, mxmtest.Revocation, r.Endpoint)
		}
		require.True(t, w.srv.IsLive(b.token(t)))
	})
}

// In connect mode the application ends its link when the grant has ended. If that
// fails, the user's next attempt does both again.
func TestDisconnectEndsTheLink(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		links := map[string]string{"ann": alice}
		var fails error
		i := w.start(func(c *core.Config) {
			c.AppUser = func(r *http.Request) string { return r.Header.Get("App-User") }
			c.LinkedUser = func(_ context.Context, appUser string) (string, error) { return links[appUser], nil }
			c.OnLogin = func(context.Context, *core.Login) error { return nil }
			c.OnDisconnect = func(ctx context.Context, appUser, userID string) error {
				require.Equal(t, []string{"ann", alice}, []string{appUser, userID})
				if fails != nil {
					panic(fails)
				}
				delete(links, appUser)
				return nil
			}
		})
		w.signIn(i)
		disconnect := func() (status int) {
			route := i.Routes()[2]
			r := httptest.NewRequest("POST", route.Path, nil)
			r.Header.Set("App-User", "ann")
			r.Header.Set("Sec-Fetch-Site", "same-origin")
			rec := httptest.NewRecorder()
			if err := route.Serve(rec, r); err != nil {
				return err.(*core.Error).StatusCode()
			}
			return rec.Code
		}
		fails = errors.New("the database is down")
		require.Equal(t, http.StatusServiceUnavailable, disconnect())
		require.ErrorIs(t, i.tokenErr(t, time.Second), core.ErrReconnect)
		require.Contains(t, w.log.text(), "OnDisconnect failed")
		fails = nil
		require.Equal(t, http.StatusSeeOther, disconnect())
		require.Empty(t, links)
		require.Equal(t, http.StatusForbidden, disconnect(), "nothing is connected")
	})
}
