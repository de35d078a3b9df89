package core

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"
)

// watchedStore counts what reaches a session store, and can be down.
type watchedStore struct {
	*Memory
	finds, commits, deletes atomic.Int32
	down, deletesFail       atomic.Bool
}

var errDown = errors.New("the store is down")

func (s *watchedStore) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	s.finds.Add(1)
	if s.down.Load() {
		return nil, false, errDown
	}
	return s.Memory.FindCtx(ctx, token)
}

func (s *watchedStore) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	s.commits.Add(1)
	if s.down.Load() {
		return errDown
	}
	return s.Memory.CommitCtx(ctx, token, b, expiry)
}

func (s *watchedStore) DeleteCtx(ctx context.Context, token string) error {
	s.deletes.Add(1)
	if s.down.Load() || s.deletesFail.Load() {
		return errDown
	}
	return s.Memory.DeleteCtx(ctx, token)
}

func newSessionAuth(t testing.TB, change func(*scs.SessionManager)) (*Auth, *watchedStore) {
	store := &watchedStore{Memory: NewMemory()}
	sessions := NewSessions(store)
	if change != nil {
		change(sessions)
	}
	return newTestAuth(t, func(c *Config) {
		c.Sessions, c.Keys = sessions, [][]byte{testKey(1)}
	}), store
}

// serve answers one request of b through Wrap.
func serve(a *Auth, b browser, h http.HandlerFunc) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	a.Wrap(h).ServeHTTP(w, b.request("/"))
	b.keep(w)
	return w
}

func signIn(t testing.TB, a *Auth, b browser, user string) {
	w := serve(a, b, func(w http.ResponseWriter, r *http.Request) {
		require.NoError(t, a.sessionOf(r.Context()).signIn(r.Context(), user))
	})
	require.Equal(t, http.StatusOK, w.Code)
	require.NotNil(t, b["__Host-mxm_session"])
}

func whoAmI(a *Auth, b browser) (user string, w *httptest.ResponseRecorder) {
	w = serve(a, b, func(w http.ResponseWriter, r *http.Request) { user = UserID(r.Context()) })
	return user, w
}

func TestSessionCookie_R_SE_1(t *testing.T) {
	a, store := newSessionAuth(t, nil)
	b := browser{}
	signIn(t, a, b, "mxm:1")
	c := b["__Host-mxm_session"]
	require.True(t, c.Secure)
	require.True(t, c.HttpOnly)
	require.Equal(t, "/", c.Path)
	require.Empty(t, c.Domain)
	require.Equal(t, http.SameSiteLaxMode, c.SameSite)
	require.InDelta(t, (24 * time.Hour).Seconds(), c.MaxAge, 2)
	_, found, err := store.FindCtx(t.Context(), c.Value)
	require.NoError(t, err)
	require.False(t, found, "R-ST-3: the store holds a hash of the token")

	store.finds.Store(0)
	store.commits.Store(0)
	user, w := whoAmI(a, b)
	require.Equal(t, "mxm:1", user)
	require.Empty(t, w.Header().Values("Set-Cookie"), "an unchanged token is not sent again")
	require.EqualValues(t, 1, store.finds.Load())
	require.Zero(t, store.commits.Load())
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"), "R-SE-9")
	require.Equal(t, "Cookie", w.Header().Get("Vary"))
}

func TestAnonymousTrafficLeavesNothing_R_SE_14(t *testing.T) {
	a, store := newSessionAuth(t, func(m *scs.SessionManager) { m.IdleTimeout = time.Minute })
	_, w := whoAmI(a, browser{})
	require.Empty(t, w.Header().Values("Set-Cookie"))
	require.Zero(t, store.finds.Load()+store.commits.Load()+store.deletes.Load())
}

func TestUnreadableSessions_R_SE_7_R_SE_8(t *testing.T) {
	a, store := newSessionAuth(t, nil)
	b := browser{}
	signIn(t, a, b, "mxm:1")
	cookie := b["__Host-mxm_session"]

	user, w := whoAmI(a, browser{cookie.Name: {Name: cookie.Name, Value: "tampered"}})
	require.Empty(t, user)
	require.Contains(t, w.Header().Get("Set-Cookie"), "Max-Age=0")

	r := b.request("/")
	r.AddCookie(&http.Cookie{Name: cookie.Name, Value: cookie.Value})
	w = httptest.NewRecorder()
	a.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { user = UserID(r.Context()) })).ServeHTTP(w, r)
	require.Empty(t, user, "of two cookies neither is believed")

	user, w = whoAmI(a, browser{cookie.Name: {Name: cookie.Name, Value: strings.Repeat("x", scsTokenLength)}})
	require.Empty(t, user)
	require.Empty(t, w.Header().Values("Set-Cookie"), "it may have been renewed in another tab")

	// An undecodable session, as an older or newer release may have left one.
	probe := &tokenProbe{Memory: store.Memory}
	a.sessions.Store = probe
	whoAmI(a, b)
	require.NoError(t, store.Memory.CommitCtx(t.Context(), probe.token, []byte("\x09from the future"), time.Now().Add(time.Hour)))
	user, w = whoAmI(a, b)
	require.Empty(t, user)
	require.Equal(t, http.StatusOK, w.Code)
	require.Contains(t, w.Header().Get("Set-Cookie"), "Max-Age=0")
}

type tokenProbe struct {
	*Memory
	token string
}

func (p *tokenProbe) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	p.token = token
	return p.Memory.FindCtx(ctx, token)
}

func TestStoreDown(t *testing.T) {
	a, store := newSessionAuth(t, nil)
	b := browser{}
	signIn(t, a, b, "mxm:1")
	store.down.Store(true)

	w := serve(a, b, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "public") })
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "public", w.Body.String())
	require.Empty(t, w.Header().Values("Set-Cookie"), "the session is only out of reach")

	err := a.Challenge(httptest.NewRecorder(), b.request("/me"))
	require.ErrorIs(t, err, ErrUnavailable)

	w = serve(a, b, func(w http.ResponseWriter, r *http.Request) {
		a.cfg.Sessions.Put(r.Context(), "k", "v")
		w.Header().Set("X-Protected", "yes")
		_, err := io.WriteString(w, "PROTECTED")
		require.Error(t, err)
	})
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.NotContains(t, w.Body.String(), "PROTECTED")
	require.Empty(t, w.Header().Get("X-Protected"))
	require.NotEmpty(t, w.Header().Get("Retry-After"))
	require.Empty(t, w.Header().Values("Set-Cookie"))

	store.down.Store(false)
	user, _ := whoAmI(a, b)
	require.Equal(t, "mxm:1", user)
}

func TestTwoAuthsDoNotShareUsers_R_CF_3(t *testing.T) {
	sessions := NewSessions(NewMemory())
	keys := [][]byte{testKey(1)}
	one := newTestAuth(t, func(c *Config) { c.Sessions, c.Keys = sessions, keys })
	two := newTestAuth(t, func(c *Config) { c.Sessions, c.Keys, c.ClientID = sessions, keys, "another" })
	b := browser{}
	signIn(t, one, b, "mxm:1")
	user, _ := whoAmI(two, b)
	require.Empty(t, user)
	user, _ = whoAmI(one, b)
	require.Equal(t, "mxm:1", user)
}

func TestWithUserID(t *testing.T) {
	require.Empty(t, UserID(t.Context()))
	require.Equal(t, "mxm:7", UserID(WithUserID(t.Context(), "mxm:7")))
}
