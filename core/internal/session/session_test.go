package session_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

func TestSessionCookie(t *testing.T) {
	m, store := newManager(nil)
	b := browser{}
	signIn(t, m, b, "mxm:1")
	c := b["__Host-Http-mxm_session"]
	require.True(t, c.Secure)
	require.True(t, c.HttpOnly)
	require.Equal(t, "/", c.Path)
	require.Empty(t, c.Domain)
	require.Equal(t, http.SameSiteLaxMode, c.SameSite)
	require.InDelta(t, (24 * time.Hour).Seconds(), c.MaxAge, 2)
	_, found, err := store.FindCtx(t.Context(), c.Value)
	require.NoError(t, err)
	require.False(t, found, "the store holds a hash of the token")

	store.finds.Store(0)
	store.commits.Store(0)
	user, w := whoAmI(m, b)
	require.Equal(t, "mxm:1", user)
	require.Empty(t, w.Header().Values("Set-Cookie"), "an unchanged token is not sent again")
	require.EqualValues(t, 1, store.finds.Load())
	require.Zero(t, store.commits.Load())
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	require.Equal(t, "Cookie", w.Header().Get("Vary"))
}

func TestAnonymousTrafficLeavesNothing(t *testing.T) {
	m, store := newManager(func(m *scs.SessionManager) { m.IdleTimeout = time.Minute })
	_, w := whoAmI(m, browser{})
	require.Empty(t, w.Header().Values("Set-Cookie"))
	require.Zero(t, store.finds.Load()+store.commits.Load()+store.deletes.Load())
}

func TestUnreadableSessions(t *testing.T) {
	m, store := newManager(nil)
	b := browser{}
	signIn(t, m, b, "mxm:1")
	cookie := b["__Host-Http-mxm_session"]

	user, w := whoAmI(m, browser{cookie.Name: {Name: cookie.Name, Value: "tampered"}})
	require.Empty(t, user)
	require.Contains(t, w.Header().Get("Set-Cookie"), "Max-Age=0")

	r := b.request("/")
	r.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
	w = httptest.NewRecorder()
	m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { user = session.UserID(r.Context()) })).ServeHTTP(w, r)
	require.Empty(t, user, "of two cookies neither is believed")

	user, w = whoAmI(m, browser{cookie.Name: {Name: cookie.Name, Value: strings.Repeat("x", session.TokenLength)}})
	require.Empty(t, user)
	require.Empty(t, w.Header().Values("Set-Cookie"), "it may have been renewed in another tab")

	// An undecodable session, as an older or newer release may have left one.
	probe := &tokenProbe{Memory: store.Memory}
	m.Served().Store = probe
	whoAmI(m, b)
	require.NoError(t, store.Memory.CommitCtx(t.Context(), probe.token, []byte("\x09from the future"), time.Now().Add(time.Hour)))
	user, w = whoAmI(m, b)
	require.Empty(t, user)
	require.Equal(t, http.StatusOK, w.Code)
	require.Contains(t, w.Header().Get("Set-Cookie"), "Max-Age=0")
}

type tokenProbe struct {
	*core.Memory
	token string
}

func (p *tokenProbe) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	p.token = token
	return p.Memory.FindCtx(ctx, token)
}

func TestStoreDown(t *testing.T) {
	m, store := newManager(nil)
	b := browser{}
	signIn(t, m, b, "mxm:1")
	store.down.Store(true)

	w := serve(m, b, func(w http.ResponseWriter, r *http.Request) {
		_, err := m.From(r.Context()).UserID(r.Context())
		require.ErrorIs(t, err, errDown)
		io.WriteString(w, "public")
	})
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "public", w.Body.String())
	require.Empty(t, w.Header().Values("Set-Cookie"), "the session is only out of reach")

	w = serve(m, b, func(w http.ResponseWriter, r *http.Request) {
		m.scs.Put(r.Context(), "k", "v")
		w.Header().Set("X-Protected", "yes")
		_, err := io.WriteString(w, "PROTECTED")
		require.Error(t, err)
	})
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.NotContains(t, w.Body.String(), "PROTECTED")
	require.Empty(t, w.Header().Get("X-Protected"))
	require.Empty(t, w.Header().Values("Set-Cookie"))

	store.down.Store(false)
	user, _ := whoAmI(m, b)
	require.Equal(t, "mxm:1", user)
}

func TestTwoManagersDoNotShareUsers(t *testing.T) {
	sessions := core.NewSessions(core.NewMemory())
	one := manage(sessions, nil)
	two := manage(sessions, func(o *session.Options) { o.Key = "another" })
	b := browser{}
	signIn(t, one, b, "mxm:1")
	user, _ := whoAmI(two, b)
	require.Empty(t, user)
	user, _ = whoAmI(one, b)
	require.Equal(t, "mxm:1", user)
}
