package core

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"
)

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
