package core_test

import (
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
