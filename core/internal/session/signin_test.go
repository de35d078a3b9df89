package session_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

func TestSessionRenewedAtSignIn(t *testing.T) {
	m, _ := newManager(nil)
	b := browser{}
	put := func(key string) {
		serve(m, b, func(w http.ResponseWriter, r *http.Request) { m.scs.Put(r.Context(), key, "kept") })
	}
	kept := func(key string) (found bool) {
		serve(m, b, func(w http.ResponseWriter, r *http.Request) { found = m.scs.Exists(r.Context(), key) })
		return found
	}
	put("anonymous")
	before := *b["__Host-Http-mxm_session"]
	signIn(t, m, b, "mxm:1")
	require.NotEqual(t, before.Value, b["__Host-Http-mxm_session"].Value)
	require.True(t, kept("anonymous"))
	user, _ := whoAmI(m, browser{before.Name: &before})
	require.Empty(t, user, "the old token is dead")

	put("first")
	signIn(t, m, b, "mxm:1")
	require.True(t, kept("first"), "the same user")
	signIn(t, m, b, "mxm:2")
	require.False(t, kept("first"), "another user begins with nothing")
	user, _ = whoAmI(m, b)
	require.Equal(t, "mxm:2", user)
}

func TestFailedSignInKeepsTheSession(t *testing.T) {
	m, store := newManager(nil)
	b := browser{}
	signIn(t, m, b, "mxm:1")
	store.deletesFail.Store(true)
	serve(m, b, func(w http.ResponseWriter, r *http.Request) {
		require.Error(t, m.From(r.Context()).SignIn(r.Context(), "mxm:2"))
	})
	user, _ := whoAmI(m, b)
	require.Equal(t, "mxm:1", user)
}

func TestLogoutBeatsSlowRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _ := newManager(func(m *scs.SessionManager) { m.IdleTimeout = time.Hour })
		b := browser{}
		signIn(t, m, b, "mxm:1")
		old := browser{"__Host-Http-mxm_session": b["__Host-Http-mxm_session"]}
		time.Sleep(30 * time.Minute)
		w := serve(m, old, func(w http.ResponseWriter, r *http.Request) {
			m.scs.Put(r.Context(), "slow", "write")
			serve(m, b, func(w http.ResponseWriter, r *http.Request) {
				require.NoError(t, m.From(r.Context()).SignOut(r.Context()))
			})
		})
		require.Empty(t, w.Header().Values("Set-Cookie"))
		require.Empty(t, b)
		user, _ := whoAmI(m, old)
		require.Empty(t, user)
	})
}

// A sign-in that is slower than an http.TimeoutHandler inside Wrap either
// counts or leaves the session as it was.
func TestSlowSignInUnderTimeoutHandler(t *testing.T) {
	m, _ := newManager(nil)
	b := browser{}
	signIn(t, m, b, "mxm:1")
	for _, order := range []string{"late", "at once"} {
		done := make(chan error, 1)
		answered := make(chan struct{})
		slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			if order == "late" {
				<-answered
			}
			s := m.From(r.Context())
			err := s.SignIn(context.WithoutCancel(r.Context()), "mxm:1")
			if err == nil {
				err = s.Save(w)
			}
			done <- err
		})
		w := httptest.NewRecorder()
		m.Wrap(http.TimeoutHandler(slow, time.Millisecond, "too slow")).ServeHTTP(w, b.request("/"))
		close(answered)
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
		err := <-done
		b.keep(w)
		if order == "late" {
			require.ErrorIs(t, err, session.ErrAnswered)
			user, _ := whoAmI(m, b)
			require.Equal(t, "mxm:1", user)
		}
	}
}

// The application's session may outlive a sign-in. What the user left there is
// not for the next one.
func TestSignInAfterAnotherUsersHasEnded(t *testing.T) {
	for user, want := range map[string]string{"mxm:1": "of mxm:1", "mxm:2": ""} {
		t.Run(user, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &watchedStore{Memory: core.NewMemory()}
				sessions := applications(store)
				m := manage(sessions, nil)
				b := browser{}
				signIn := func(user string) {
					serve(m, b, func(_ http.ResponseWriter, r *http.Request) {
						require.NoError(t, m.From(r.Context()).SignIn(r.Context(), user))
					})
				}
				cart := func() (cart string) {
					serve(m, b, func(_ http.ResponseWriter, r *http.Request) { cart = sessions.GetString(r.Context(), "cart") })
					return cart
				}
				signIn("mxm:1")
				serve(m, b, func(_ http.ResponseWriter, r *http.Request) { sessions.Put(r.Context(), "cart", "of mxm:1") })
				time.Sleep(23 * time.Hour)
				serve(m, b, func(_ http.ResponseWriter, r *http.Request) { require.NoError(t, sessions.RenewToken(r.Context())) })
				time.Sleep(2 * time.Hour)
				require.Equal(t, "of mxm:1", cart(), "the application's session lives on")
				commits := store.commits.Load()
				for range 3 {
					id, _ := whoAmI(m, b)
					require.Empty(t, id)
				}
				require.Equal(t, commits, store.commits.Load(), "that the sign-in has ended is written once")
				signIn(user)
				require.Equal(t, want, cart())
			})
		})
	}
}

// Of two cookies we believe none, and the application's own LoadAndSave takes
// the first. Its contents are not for another user.
func TestSignInWithTwoCookiesUnderLoadAndSave(t *testing.T) {
	sessions := applications(core.NewMemory())
	m := manage(sessions, nil)
	b := browser{}
	do := func(r *http.Request, h http.HandlerFunc) {
		w := httptest.NewRecorder()
		sessions.LoadAndSave(m.Wrap(h)).ServeHTTP(w, r)
		b.keep(w)
	}
	do(b.request("/"), func(_ http.ResponseWriter, r *http.Request) {
		require.NoError(t, m.From(r.Context()).SignIn(r.Context(), "mxm:1"))
		sessions.Put(r.Context(), "cart", "of mxm:1")
	})
	two := b.request("/")
	two.AddCookie(&http.Cookie{Name: "session", Value: "another"})
	do(two, func(_ http.ResponseWriter, r *http.Request) {
		require.Equal(t, "of mxm:1", sessions.GetString(r.Context(), "cart"), "it is the first one's session")
		require.NoError(t, m.From(r.Context()).SignIn(r.Context(), "mxm:2"))
	})
	do(b.request("/"), func(_ http.ResponseWriter, r *http.Request) {
		require.Equal(t, "mxm:2", session.UserID(r.Context()))
		require.Empty(t, sessions.GetString(r.Context(), "cart"))
	})
}
