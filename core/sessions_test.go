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

// UserID is the user of the innermost RequireUser, or else of the innermost
// Middleware; User names its Auth.
func TestUserOfSeveralAuths(t *testing.T) {
	artists := newSessionAuth(t, NewSessions(NewMemory()))
	staff := newTestAuth(t, func(c *Config) {
		c.ClientID, c.Sessions, c.Keys = "staff", NewSessions(NewMemory()), [][]byte{testKey(1)}
		c.Sessions.Cookie.Name = "__Host-staff"
	})
	b := browser{}
	sign := func(a *Auth, user string) {
		serve(a, b, func(_ http.ResponseWriter, r *http.Request) {
			require.NoError(t, a.sessions.From(r.Context()).SignIn(r.Context(), user))
		})
	}
	sign(artists, "mxm:artist")
	sign(staff, "mxm:staff")

	type middleware func(http.Handler) http.Handler
	requireUser := func(a *Auth) middleware {
		return func(next http.Handler) http.Handler {
			return a.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				admitted, err := a.Admit(w, r)
				require.NoError(t, err)
				next.ServeHTTP(w, admitted)
			}))
		}
	}
	for _, tc := range []struct {
		name string
		want string
		way  []middleware
	}{
		{"middleware of staff inside", "mxm:staff", []middleware{artists.Wrap, staff.Wrap}},
		{"middleware of artists inside", "mxm:artist", []middleware{staff.Wrap, artists.Wrap}},
		{"staff required inside both", "mxm:staff", []middleware{staff.Wrap, artists.Wrap, requireUser(staff)}},
		{"artists required inside staff's", "mxm:artist", []middleware{requireUser(staff), requireUser(artists)}},
		{"staff required inside artists'", "mxm:staff", []middleware{requireUser(artists), requireUser(staff)}},
		{"staff required around the artists' middleware", "mxm:staff", []middleware{requireUser(staff), artists.Wrap}},
		{"the same, twice", "mxm:staff", []middleware{staff.Wrap, requireUser(staff), artists.Wrap, requireUser(staff), artists.Wrap}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ran := false
			var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ran = true
				require.Equal(t, tc.want, UserID(r.Context()))
			})
			for i := range tc.way {
				h = tc.way[len(tc.way)-1-i](h)
			}
			h.ServeHTTP(httptest.NewRecorder(), b.request("/"))
			require.True(t, ran)
		})
	}
	serve(artists, b, func(w http.ResponseWriter, r *http.Request) {
		staff.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			ctx := WithUserID(r.Context(), "mxm:somebody")
			require.Equal(t, "mxm:somebody", UserID(ctx))
			for auth, want := range map[*Auth]string{artists: "mxm:artist", staff: "mxm:staff"} {
				user, err := auth.User(ctx)
				require.NoError(t, err)
				require.Equal(t, want, user)
			}
		})).ServeHTTP(w, r)
	})
	user, err := staff.User(WithUserID(t.Context(), "mxm:tested"))
	require.NoError(t, err)
	require.Equal(t, "mxm:tested", user, "in a test of a handler alone")
	user, err = staff.User(t.Context())
	require.NoError(t, err)
	require.Empty(t, user)
}

// RequireUser serves the routes itself: what is inside it need not have them.
func TestAdmitServesTheRoutes(t *testing.T) {
	a := newTestAuth(t, func(c *Config) {
		c.RedirectURL, c.PathPrefix = "https://app.example/app/auth/musixmatch/callback", "/app"
	})
	h := a.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		admitted, err := a.Admit(w, r)
		require.Nil(t, admitted)
		if err != nil {
			WriteError(w, r, err)
		}
	}))
	for path, want := range map[string]int{
		"/auth/musixmatch/login":     http.StatusSeeOther,
		"/app/auth/musixmatch/login": http.StatusSeeOther, // outside http.StripPrefix
		"/auth/musixmatch/callback":  http.StatusBadRequest,
		"/auth/musixmatch/logout":    http.StatusMethodNotAllowed,
		"/auth/musixmatch/login/":    http.StatusUnauthorized,
		"/auth/musixmatch":           http.StatusUnauthorized,
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		require.Equal(t, want, w.Code, path)
	}
}

// In connect mode nobody can say who it is while LinkedUser fails, or while the
// application itself is being asked.
func TestUserInConnectMode(t *testing.T) {
	var a *Auth
	down := false
	ask := func(ctx context.Context) {
		require.Empty(t, UserID(ctx))
		_, err := a.User(ctx)
		require.ErrorIs(t, err, ErrUnavailable)
	}
	a = newTestAuth(t, func(c *Config) {
		c.AppUser = func(r *http.Request) string {
			ask(r.Context())
			return r.Header.Get("App-User")
		}
		c.LinkedUser = func(ctx context.Context, appUser string) (string, error) {
			ask(ctx)
			if down {
				return "", errDown
			}
			return "mxm:" + appUser, nil
		}
		c.OnLogin = func(context.Context, *Login) error { return nil }
	})
	who := func(appUser string) (user string, err error) {
		r := browser{}.request("/")
		r.Header.Set("App-User", appUser)
		a.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { user, err = a.User(r.Context()) })).ServeHTTP(httptest.NewRecorder(), r)
		return user, err
	}
	user, err := who("ann")
	require.NoError(t, err)
	require.Equal(t, "mxm:ann", user)
	user, err = who("")
	require.NoError(t, err)
	require.Empty(t, user)
	down = true
	_, err = who("ann")
	require.ErrorIs(t, err, ErrUnavailable)
	require.ErrorIs(t, err, errDown)
}
