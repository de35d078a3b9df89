package core

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
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

func TestSessionRenewedAtSignIn_R_SE_2_R_CB_13(t *testing.T) {
	a, _ := newSessionAuth(t, nil)
	b := browser{}
	put := func(key string) {
		serve(a, b, func(w http.ResponseWriter, r *http.Request) { a.cfg.Sessions.Put(r.Context(), key, "kept") })
	}
	kept := func(key string) (found bool) {
		serve(a, b, func(w http.ResponseWriter, r *http.Request) { found = a.cfg.Sessions.Exists(r.Context(), key) })
		return found
	}
	put("anonymous")
	before := *b["__Host-mxm_session"]
	signIn(t, a, b, "mxm:1")
	require.NotEqual(t, before.Value, b["__Host-mxm_session"].Value)
	require.True(t, kept("anonymous"))
	user, _ := whoAmI(a, browser{before.Name: &before})
	require.Empty(t, user, "the old token is dead")

	put("first")
	signIn(t, a, b, "mxm:1")
	require.True(t, kept("first"), "the same user")
	signIn(t, a, b, "mxm:2")
	require.False(t, kept("first"), "another user begins with nothing")
	user, _ = whoAmI(a, b)
	require.Equal(t, "mxm:2", user)
}

func TestFailedSignInKeepsTheSession_R_CB_6(t *testing.T) {
	a, store := newSessionAuth(t, nil)
	b := browser{}
	signIn(t, a, b, "mxm:1")
	store.deletesFail.Store(true)
	serve(a, b, func(w http.ResponseWriter, r *http.Request) {
		require.Error(t, a.sessionOf(r.Context()).signIn(r.Context(), "mxm:2"))
	})
	user, _ := whoAmI(a, b)
	require.Equal(t, "mxm:1", user)
}

func TestIdleTimeout_R_SE_6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const idle = 30 * time.Minute
		a, store := newSessionAuth(t, func(m *scs.SessionManager) { m.IdleTimeout = idle })
		b := browser{}
		signIn(t, a, b, "mxm:1")
		for range 12 { // six hours in use
			time.Sleep(idle)
			user, w := whoAmI(a, b)
			require.Equal(t, "mxm:1", user)
			require.Empty(t, w.Header().Values("Set-Cookie"))
		}
		store.commits.Store(0)
		for range 600 { // ten minutes, a request each second
			time.Sleep(time.Second)
			whoAmI(a, b)
		}
		require.LessOrEqual(t, store.commits.Load(), int32(10), "written once a minute at most")
		time.Sleep(idle + a.touchEvery() + time.Second)
		user, w := whoAmI(a, b)
		require.Empty(t, user)
		require.Contains(t, w.Header().Get("Set-Cookie"), "Max-Age=0", "the cookie is removed")
		require.Empty(t, b)
	})
}

func TestAbsoluteLifetime_R_SE_6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := newSessionAuth(t, func(m *scs.SessionManager) { m.IdleTimeout = time.Hour })
		b := browser{}
		signIn(t, a, b, "mxm:1")
		for range 47 {
			time.Sleep(30 * time.Minute)
			serve(a, b, func(w http.ResponseWriter, r *http.Request) {
				require.NotEmpty(t, UserID(r.Context()))
				require.NoError(t, a.cfg.Sessions.RenewToken(r.Context()), "which begins scs's lifetime anew")
			})
		}
		time.Sleep(31 * time.Minute)
		user, _ := whoAmI(a, b)
		require.Empty(t, user)
	})
}

// The application may keep its own session for longer than a sign-in lasts.
func TestAbsoluteLifetimeEndsOurPartOnly_R_SE_6(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sessions := newManager()
		sessions.Store, sessions.Codec, sessions.Lifetime, sessions.Cookie.Name = NewMemory(), scs.GobCodec{}, 24*time.Hour, "session"
		a := newTestAuth(t, func(c *Config) { c.Sessions, c.Keys = sessions, [][]byte{testKey(1)} })
		b := browser{}
		serve(a, b, func(_ http.ResponseWriter, r *http.Request) {
			sessions.Put(r.Context(), "app", "ann")
			require.NoError(t, a.sessionOf(r.Context()).signIn(r.Context(), "mxm:1"))
		})
		time.Sleep(23 * time.Hour)
		serve(a, b, func(_ http.ResponseWriter, r *http.Request) {
			require.Equal(t, "mxm:1", UserID(r.Context()))
			require.NoError(t, sessions.RenewToken(r.Context()))
		})
		time.Sleep(2 * time.Hour)
		for range 2 {
			serve(a, b, func(_ http.ResponseWriter, r *http.Request) {
				require.Empty(t, UserID(r.Context()))
				require.Equal(t, "ann", sessions.GetString(r.Context(), "app"))
			})
		}
	})
}

// A touch by a request that loaded the session long ago does not undo what
// another one has changed meanwhile.
func TestTouchUndoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := newSessionAuth(t, func(m *scs.SessionManager) { m.IdleTimeout = time.Hour })
		b := browser{}
		signIn(t, a, b, "mxm:1")
		time.Sleep(30 * time.Minute)
		serve(a, b, func(w http.ResponseWriter, r *http.Request) { // touches, and is slow
			serve(a, b, func(w http.ResponseWriter, r *http.Request) { a.cfg.Sessions.Put(r.Context(), "cart", "full") })
		})
		serve(a, b, func(w http.ResponseWriter, r *http.Request) {
			require.Equal(t, "full", a.cfg.Sessions.GetString(r.Context(), "cart"))
		})
	})
}

func TestLogoutBeatsSlowRequests_R_SE_4(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := newSessionAuth(t, func(m *scs.SessionManager) { m.IdleTimeout = time.Hour })
		b := browser{}
		signIn(t, a, b, "mxm:1")
		old := browser{"__Host-mxm_session": b["__Host-mxm_session"]}
		time.Sleep(30 * time.Minute)
		w := serve(a, old, func(w http.ResponseWriter, r *http.Request) {
			a.cfg.Sessions.Put(r.Context(), "slow", "write")
			serve(a, b, func(w http.ResponseWriter, r *http.Request) {
				require.NoError(t, a.sessionOf(r.Context()).signOut(r.Context()))
			})
		})
		require.Empty(t, w.Header().Values("Set-Cookie"))
		require.Empty(t, b)
		user, _ := whoAmI(a, old)
		require.Empty(t, user)
	})
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

// A sign-in that is slower than an http.TimeoutHandler inside Wrap either
// counts or leaves the session as it was.
func TestSlowSignInUnderTimeoutHandler_R_CB_6(t *testing.T) {
	a, _ := newSessionAuth(t, nil)
	b := browser{}
	signIn(t, a, b, "mxm:1")
	for _, order := range []string{"late", "at once"} {
		done := make(chan error, 1)
		answered := make(chan struct{})
		slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			if order == "late" {
				<-answered
			}
			s := a.sessionOf(r.Context())
			err := s.signIn(context.WithoutCancel(r.Context()), "mxm:1")
			if err == nil {
				err = s.save(w)
			}
			done <- err
		})
		w := httptest.NewRecorder()
		a.Wrap(http.TimeoutHandler(slow, time.Millisecond, "too slow")).ServeHTTP(w, b.request("/"))
		close(answered)
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		err := <-done
		b.keep(w)
		if order == "late" {
			require.ErrorIs(t, err, errAnswered)
			user, _ := whoAmI(a, b)
			require.Equal(t, "mxm:1", user)
		}
	}
}

func TestFailedSave_R_SE_13(t *testing.T) {
	a, store := newSessionAuth(t, nil)
	b := browser{}
	signIn(t, a, b, "mxm:1")
	for name, write := range map[string]func(w http.ResponseWriter){
		"Write":       func(w http.ResponseWriter) { w.Write([]byte("PROTECTED")) },
		"WriteString": func(w http.ResponseWriter) { io.WriteString(w, "PROTECTED") },
		"WriteHeader": func(w http.ResponseWriter) { w.WriteHeader(200); w.Write([]byte("PROTECTED")) },
		"ReadFrom":    func(w http.ResponseWriter) { io.Copy(w, strings.NewReader("PROTECTED")) },
		"Flush":       func(w http.ResponseWriter) { w.(http.Flusher).Flush(); w.Write([]byte("PROTECTED")) },
		"controller":  func(w http.ResponseWriter) { http.NewResponseController(w).Flush(); w.Write([]byte("PROTECTED")) },
		"nothing":     func(w http.ResponseWriter) {},
	} {
		store.down.Store(false)
		w := serve(a, b, func(w http.ResponseWriter, r *http.Request) {
			a.cfg.Sessions.Put(r.Context(), "k", name)
			w.Header().Set("Location", "/done")
			store.down.Store(true)
			write(w)
		})
		require.Equal(t, http.StatusServiceUnavailable, w.Code, name)
		require.NotContains(t, w.Body.String(), "PROTECTED", name)
		require.Empty(t, w.Header().Get("Location"), name)
	}
}

func TestSaveSurvivesTheBrowser_E8(t *testing.T) {
	a, _ := newSessionAuth(t, nil)
	b := browser{}
	signIn(t, a, b, "mxm:1")
	ctx, cancel := context.WithCancel(t.Context())
	a.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.cfg.Sessions.Put(r.Context(), "k", "v")
		cancel()
	})).ServeHTTP(httptest.NewRecorder(), b.request("/").WithContext(ctx))
	serve(a, b, func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "v", a.cfg.Sessions.GetString(r.Context(), "k"))
	})
}

func TestChangeAfterTheFirstByte(t *testing.T) {
	a, _ := newSessionAuth(t, nil)
	b := browser{}
	signIn(t, a, b, "mxm:1")
	serve(a, b, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "streaming")
		a.cfg.Sessions.Put(r.Context(), "late", "yes")
	})
	serve(a, b, func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "yes", a.cfg.Sessions.GetString(r.Context(), "late"))
	})
}

func TestApplicationsOwnLoadAndSave(t *testing.T) {
	type build func(a *Auth, h http.Handler) http.Handler
	for name, chain := range map[string]build{
		"around us": func(a *Auth, h http.Handler) http.Handler { return a.cfg.Sessions.LoadAndSave(a.Wrap(h)) },
		"inside us": func(a *Auth, h http.Handler) http.Handler { return a.Wrap(a.cfg.Sessions.LoadAndSave(h)) },
	} {
		t.Run(name, func(t *testing.T) {
			store := &watchedStore{Memory: NewMemory()}
			sessions := scs.New() // the application's, as it is
			sessions.Store = store
			var log strings.Builder
			a := newTestAuth(t, func(c *Config) {
				c.Sessions, c.Keys, c.Logger = sessions, [][]byte{testKey(1)}, slog.New(slog.NewTextHandler(&log, nil))
			})
			b := browser{"session": {Name: "session", Value: "none of scs's"}}
			do := func(h http.HandlerFunc) *httptest.ResponseRecorder {
				w := httptest.NewRecorder()
				chain(a, h).ServeHTTP(w, b.request("/"))
				b.keep(w)
				return w
			}
			w := do(func(w http.ResponseWriter, r *http.Request) {
				sessions.Put(r.Context(), "app", "data")
				require.NoError(t, a.sessionOf(r.Context()).signIn(r.Context(), "mxm:1"))
				io.WriteString(w, "welcome")
			})
			require.Len(t, w.Header().Values("Set-Cookie"), 1)
			require.EqualValues(t, 1, store.commits.Load(), "saved by one of the two")
			require.Empty(t, log.String())
			do(func(w http.ResponseWriter, r *http.Request) {
				require.Equal(t, "mxm:1", UserID(r.Context()))
				require.Equal(t, "data", sessions.GetString(r.Context(), "app"))
			})
		})
	}
}

// The application's own LoadAndSave takes the first of two cookies. We take none.
func TestPlantedCookieUnderLoadAndSave_R_SE_8(t *testing.T) {
	sessions := scs.New()
	a := newTestAuth(t, func(c *Config) { c.Sessions, c.Keys = sessions, [][]byte{testKey(1)} })
	b := browser{}
	do := func(r *http.Request, h http.HandlerFunc) {
		w := httptest.NewRecorder()
		sessions.LoadAndSave(a.Wrap(h)).ServeHTTP(w, r)
		b.keep(w)
	}
	do(b.request("/"), func(_ http.ResponseWriter, r *http.Request) {
		require.NoError(t, a.sessionOf(r.Context()).signIn(r.Context(), "mxm:1"))
	})
	do(b.request("/"), func(_ http.ResponseWriter, r *http.Request) { require.Equal(t, "mxm:1", UserID(r.Context())) })
	r := b.request("/")
	r.AddCookie(&http.Cookie{Name: "session", Value: "another"})
	do(r, func(_ http.ResponseWriter, r *http.Request) { require.Empty(t, UserID(r.Context())) })
}

// Whichever way the application uses its own manager besides us, its idle
// timeout means what it meant without us: a browser in use stays signed in to
// both, and an idle one to neither.
func TestApplicationsOwnIdleTimeout(t *testing.T) {
	type build func(a *Auth, h http.Handler) http.Handler
	wrapped := func(a *Auth, h http.Handler) http.Handler { return a.Wrap(h) }
	around := func(a *Auth, h http.Handler) http.Handler { return a.cfg.Sessions.LoadAndSave(h) }
	for name, chain := range map[string]struct{ ours, theirs build }{
		"around us":   {func(a *Auth, h http.Handler) http.Handler { return around(a, a.Wrap(h)) }, around},
		"inside us":   {func(a *Auth, h http.Handler) http.Handler { return a.Wrap(around(a, h)) }, func(a *Auth, h http.Handler) http.Handler { return a.Wrap(around(a, h)) }},
		"elsewhere":   {wrapped, around},
		"not at all":  {wrapped, wrapped},
		"only for us": {func(a *Auth, h http.Handler) http.Handler { return around(a, a.Wrap(h)) }, wrapped},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sessions := newManager() // without scs's goroutine
				sessions.Store, sessions.Codec, sessions.Lifetime = NewMemory(), scs.GobCodec{}, 24*time.Hour
				sessions.Cookie.Name, sessions.IdleTimeout = "session", 30*time.Minute
				a := newTestAuth(t, func(c *Config) { c.Sessions, c.Keys = sessions, [][]byte{testKey(1)} })
				b, expires := browser{}, time.Time{}
				do := func(chain build, h http.HandlerFunc) {
					if time.Now().After(expires) {
						clear(b)
					}
					w := httptest.NewRecorder()
					chain(a, h).ServeHTTP(w, b.request("/"))
					b.keep(w)
					for _, c := range w.Result().Cookies() {
						expires = time.Now().Add(time.Duration(c.MaxAge) * time.Second)
					}
				}
				do(chain.theirs, func(_ http.ResponseWriter, r *http.Request) { sessions.Put(r.Context(), "app", "ann") })
				do(chain.ours, func(_ http.ResponseWriter, r *http.Request) {
					require.NoError(t, a.sessionOf(r.Context()).signIn(r.Context(), "mxm:1"))
				})
				for range 12 {
					time.Sleep(10 * time.Minute)
					do(chain.theirs, func(_ http.ResponseWriter, r *http.Request) {
						require.Equal(t, "ann", sessions.GetString(r.Context(), "app"))
					})
				}
				do(chain.ours, func(_ http.ResponseWriter, r *http.Request) {
					require.Equal(t, "mxm:1", UserID(r.Context()))
					require.Equal(t, "ann", sessions.GetString(r.Context(), "app"))
				})
				time.Sleep(31 * time.Minute)
				do(chain.ours, func(_ http.ResponseWriter, r *http.Request) {
					require.Empty(t, UserID(r.Context()))
					require.Empty(t, sessions.GetString(r.Context(), "app"))
				})
			})
		})
	}
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

func TestCaching_R_SE_9(t *testing.T) {
	a, _ := newSessionAuth(t, nil)
	anonymous, signedIn := browser{}, browser{}
	signIn(t, a, signedIn, "mxm:1")
	for _, tc := range []struct {
		b         browser
		own, want string
	}{
		{anonymous, "", "no-store"},
		{anonymous, "public, max-age=60", "public, max-age=60"},
		{signedIn, "", "no-store"},
		{signedIn, "public, max-age=60", "no-store"},
		{signedIn, "private, max-age=60", "private, max-age=60"},
	} {
		w := serve(a, tc.b, func(w http.ResponseWriter, r *http.Request) {
			if tc.own != "" {
				w.Header().Set("Cache-Control", tc.own)
			}
			w.WriteHeader(http.StatusOK)
		})
		require.Equal(t, tc.want, w.Header().Get("Cache-Control"), "%+v", tc)
		require.Equal(t, []string{"Cookie"}, w.Header().Values("Vary"))
	}
	w := serve(a, signedIn, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "private, max-age=60")
		http.SetCookie(w, &http.Cookie{Name: "x", Value: "y"})
		w.WriteHeader(http.StatusOK)
	})
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"), "it sets a cookie")
}

func TestWithUserID(t *testing.T) {
	require.Empty(t, UserID(t.Context()))
	require.Equal(t, "mxm:7", UserID(WithUserID(t.Context(), "mxm:7")))
}

func BenchmarkAuthenticatedRequest(b *testing.B) {
	body := []byte("ok")
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = UserID(r.Context())
		w.Write(body)
	})
	run := func(b *testing.B, h http.Handler, cookie *http.Cookie) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		if cookie != nil {
			r.AddCookie(cookie)
		}
		b.ReportAllocs()
		for b.Loop() {
			h.ServeHTTP(&discardWriter{header: http.Header{}}, r)
		}
	}
	b.Run("bare", func(b *testing.B) {
		run(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			page(w, r.WithContext(WithUserID(r.Context(), "mxm:1")))
		}), nil)
	})
	for _, idle := range []time.Duration{0, time.Hour} {
		b.Run(fmt.Sprintf("mxmconnect/idle=%s", idle), func(b *testing.B) {
			a, _ := newSessionAuth(b, func(m *scs.SessionManager) { m.IdleTimeout = idle })
			br := browser{}
			signIn(b, a, br, "mxm:100000000000000000001")
			run(b, a.Wrap(page), br["__Host-mxm_session"])
		})
		b.Run(fmt.Sprintf("scs/idle=%s", idle), func(b *testing.B) {
			m := scs.New()
			m.IdleTimeout = idle
			ctx, err := m.Load(context.Background(), "")
			require.NoError(b, err)
			m.Put(ctx, "user", "mxm:100000000000000000001")
			token, _, err := m.Commit(ctx)
			require.NoError(b, err)
			run(b, m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				page(w, r.WithContext(WithUserID(r.Context(), m.GetString(r.Context(), "user"))))
			})), &http.Cookie{Name: "session", Value: token})
		})
	}
}

type discardWriter struct{ header http.Header }

func (w *discardWriter) Header() http.Header         { return w.header }
func (w *discardWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *discardWriter) WriteHeader(int)             {}
