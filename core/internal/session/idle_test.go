package session_test

import (
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

func TestIdleTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const idle = 30 * time.Minute
		m, store := newManager(func(m *scs.SessionManager) { m.IdleTimeout = idle })
		b := browser{}
		signIn(t, m, b, "mxm:1")
		for range 12 { // six hours in use
			time.Sleep(idle)
			user, w := whoAmI(m, b)
			require.Equal(t, "mxm:1", user)
			require.Empty(t, w.Header().Values("Set-Cookie"))
		}
		store.commits.Store(0)
		for range 600 { // ten minutes, a request each second
			time.Sleep(time.Second)
			whoAmI(m, b)
		}
		require.LessOrEqual(t, store.commits.Load(), int32(10), "written once a minute at most")
		time.Sleep(idle + m.TouchEvery() + time.Second)
		user, w := whoAmI(m, b)
		require.Empty(t, user)
		require.Contains(t, w.Header().Get("Set-Cookie"), "Max-Age=0", "the cookie is removed")
		require.Empty(t, b)
	})
}

// A request that comes too soon after another to be noted counts all the same.
func TestIdleTimeoutBeginsWithTheLastRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const idle = 30 * time.Minute
		m, store := newManager(func(m *scs.SessionManager) { m.IdleTimeout = idle })
		b := browser{}
		signIn(t, m, b, "mxm:1")
		store.commits.Store(0)
		time.Sleep(m.TouchEvery() - time.Second)
		whoAmI(m, b)
		require.Zero(t, store.commits.Load(), "it is not noted")
		time.Sleep(idle)
		user, _ := whoAmI(m, b)
		require.Equal(t, "mxm:1", user)
	})
}

func TestAbsoluteLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _ := newManager(func(m *scs.SessionManager) { m.IdleTimeout = time.Hour })
		b := browser{}
		signIn(t, m, b, "mxm:1")
		for range 47 {
			time.Sleep(30 * time.Minute)
			serve(m, b, func(w http.ResponseWriter, r *http.Request) {
				require.NotEmpty(t, session.UserID(r.Context()))
				require.NoError(t, m.scs.RenewToken(r.Context()), "which begins scs's lifetime anew")
			})
		}
		time.Sleep(31 * time.Minute)
		user, _ := whoAmI(m, b)
		require.Empty(t, user)
	})
}

// The application may keep its own session for longer than a sign-in lasts.
func TestAbsoluteLifetimeEndsOurPartOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sessions := applications(core.NewMemory())
		m := manage(sessions, nil)
		b := browser{}
		serve(m, b, func(_ http.ResponseWriter, r *http.Request) {
			sessions.Put(r.Context(), "app", "ann")
			require.NoError(t, m.From(r.Context()).SignIn(r.Context(), "mxm:1"))
		})
		time.Sleep(23 * time.Hour)
		serve(m, b, func(_ http.ResponseWriter, r *http.Request) {
			require.Equal(t, "mxm:1", session.UserID(r.Context()))
			require.NoError(t, sessions.RenewToken(r.Context()))
		})
		time.Sleep(2 * time.Hour)
		for range 2 {
			serve(m, b, func(_ http.ResponseWriter, r *http.Request) {
				require.Empty(t, session.UserID(r.Context()))
				require.Equal(t, "ann", sessions.GetString(r.Context(), "app"))
			})
		}
	})
}

// A touch by a request that loaded the session long ago does not undo what
// another one has changed meanwhile.
func TestTouchUndoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _ := newManager(func(m *scs.SessionManager) { m.IdleTimeout = time.Hour })
		b := browser{}
		signIn(t, m, b, "mxm:1")
		time.Sleep(30 * time.Minute)
		serve(m, b, func(w http.ResponseWriter, r *http.Request) { // touches, and is slow
			serve(m, b, func(w http.ResponseWriter, r *http.Request) { m.scs.Put(r.Context(), "cart", "full") })
		})
		serve(m, b, func(w http.ResponseWriter, r *http.Request) {
			require.Equal(t, "full", m.scs.GetString(r.Context(), "cart"))
		})
	})
}

// A request that takes longer than the idle timeout, such as an upload, and
// then changes the session does not take back that it was in use meanwhile.
func TestSlowChangeKeepsTheSessionInUse(t *testing.T) {
	for name, late := range map[string]bool{"before the first byte": false, "after it": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, _ := newManager(func(m *scs.SessionManager) { m.IdleTimeout = 30 * time.Minute })
				b := browser{}
				signIn(t, m, b, "mxm:1")
				serve(m, b, func(w http.ResponseWriter, r *http.Request) {
					if late {
						w.WriteHeader(http.StatusOK)
					}
					for range 7 {
						time.Sleep(5 * time.Minute)
						user, _ := whoAmI(m, b)
						require.Equal(t, "mxm:1", user)
					}
					m.scs.Put(r.Context(), "flash", "uploaded")
				})
				time.Sleep(time.Second)
				user, _ := whoAmI(m, b)
				require.Equal(t, "mxm:1", user)
			})
		})
	}
}

// Of two Managers on one scs manager, one inside the other, each keeps the idle
// timeout of its own users.
func TestIdleTimeoutOfAnInnerManager(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const idle = 30 * time.Minute
		sessions := core.NewSessions(core.NewMemory())
		sessions.IdleTimeout = idle
		outer := manage(sessions, nil)
		inner := manage(sessions, func(o *session.Options) { o.Key = "another" })
		b := browser{}
		do := func(h http.HandlerFunc) {
			w := httptest.NewRecorder()
			outer.Wrap(inner.Wrap(h)).ServeHTTP(w, b.request("/"))
			b.keep(w)
		}
		do(func(_ http.ResponseWriter, r *http.Request) {
			require.NoError(t, inner.From(r.Context()).SignIn(r.Context(), "mxm:2"))
		})
		for range 12 {
			time.Sleep(idle)
			do(func(_ http.ResponseWriter, r *http.Request) { require.Equal(t, "mxm:2", session.UserID(r.Context())) })
		}
		time.Sleep(idle + inner.TouchEvery() + time.Second)
		for range 2 {
			do(func(_ http.ResponseWriter, r *http.Request) { require.Empty(t, session.UserID(r.Context())) })
		}
	})
}
