package core

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"
)

var errDown = errors.New("the store is down")

// failingSessions is a session store that can be down.
type failingSessions struct {
	*Memory
	down atomic.Bool
}

func (s *failingSessions) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	if s.down.Load() {
		return nil, false, errDown
	}
	return s.Memory.FindCtx(ctx, token)
}

// newSessionAuth returns an Auth with sessions of its own.
func newSessionAuth(t testing.TB, sessions *scs.SessionManager) *Auth {
	return newTestAuth(t, func(c *Config) { c.Sessions, c.Keys = sessions, [][]byte{testKey(1)} })
}

// serve answers one request of b through Wrap.
func serve(a *Auth, b browser, h http.HandlerFunc) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	a.Wrap(h).ServeHTTP(w, b.request("/"))
	b.keep(w)
	return w
}

func signIn(t testing.TB, a *Auth, b browser, user string) {
	serve(a, b, func(w http.ResponseWriter, r *http.Request) {
		require.NoError(t, a.sessions.From(r.Context()).SignIn(r.Context(), user))
	})
	require.NotNil(t, b["__Host-Http-mxm_session"])
}

func whoAmI(a *Auth, b browser) (user string) {
	serve(a, b, func(_ http.ResponseWriter, r *http.Request) { user = UserID(r.Context()) })
	return user
}

// While the store cannot be read, nobody is told that they are not signed in,
// and a change that cannot be saved is answered with 503.
func TestSessionStoreDown(t *testing.T) {
	store := &failingSessions{Memory: NewMemory()}
	sessions := NewSessions(store)
	a := newSessionAuth(t, sessions)
	b := browser{}
	signIn(t, a, b, "mxm:1")
	store.down.Store(true)
	require.ErrorIs(t, a.Challenge(httptest.NewRecorder(), b.request("/me")), ErrUnavailable)
	w := serve(a, b, func(w http.ResponseWriter, r *http.Request) {
		sessions.Put(r.Context(), "k", "v")
		io.WriteString(w, "PROTECTED")
	})
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.JSONEq(t, `{"error":"unavailable"}`, w.Body.String())
	require.NotEmpty(t, w.Header().Get("Retry-After"))
}

func TestTwoAuthsDoNotShareUsers(t *testing.T) {
	sessions := NewSessions(NewMemory())
	one := newSessionAuth(t, sessions)
	two := newTestAuth(t, func(c *Config) { c.Sessions, c.Keys, c.ClientID = sessions, [][]byte{testKey(1)}, "another" })
	b := browser{}
	signIn(t, one, b, "mxm:1")
	require.Empty(t, whoAmI(two, b))
	require.Equal(t, "mxm:1", whoAmI(one, b))
}

func TestWithUserID(t *testing.T) {
	require.Empty(t, UserID(t.Context()))
	require.Equal(t, "mxm:7", UserID(WithUserID(t.Context(), "mxm:7")))
}
