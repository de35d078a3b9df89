package session_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

func TestApplicationsOwnLoadAndSave(t *testing.T) {
	type build func(m manager, h http.Handler) http.Handler
	for name, chain := range map[string]build{
		"around us": func(m manager, h http.Handler) http.Handler { return m.scs.LoadAndSave(m.Wrap(h)) },
		"inside us": func(m manager, h http.Handler) http.Handler { return m.Wrap(m.scs.LoadAndSave(h)) },
	} {
		t.Run(name, func(t *testing.T) {
			store := &watchedStore{Memory: core.NewMemory()}
			sessions := scs.New() // the application's, as it is
			sessions.Store = store
			var log strings.Builder
			m := manage(sessions, func(o *session.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
			b := browser{"session": {Name: "session", Value: "none of scs's"}}
			do := func(h http.HandlerFunc) *httptest.ResponseRecorder {
				w := httptest.NewRecorder()
				chain(m, h).ServeHTTP(w, b.request("/"))
				b.keep(w)
				return w
			}
			w := do(func(w http.ResponseWriter, r *http.Request) {
				sessions.Put(r.Context(), "app", "data")
				require.NoError(t, m.From(r.Context()).SignIn(r.Context(), "mxm:1"))
				io.WriteString(w, "welcome")
			})
			require.Len(t, w.Header().Values("Set-Cookie"), 1)
			require.EqualValues(t, 1, store.commits.Load(), "saved by one of the two")
			require.Empty(t, log.String())
			do(func(w http.ResponseWriter, r *http.Request) {
				require.Equal(t, "mxm:1", session.UserID(r.Context()))
				require.Equal(t, "data", sessions.GetString(r.Context(), "app"))
			})
		})
	}
}

// The application's own LoadAndSave takes the first of two cookies. We take none.
func TestPlantedCookieUnderLoadAndSave(t *testing.T) {
	sessions := scs.New()
	m := manage(sessions, nil)
	b := browser{}
	do := func(r *http.Request, h http.HandlerFunc) {
		w := httptest.NewRecorder()
		sessions.LoadAndSave(m.Wrap(h)).ServeHTTP(w, r)
		b.keep(w)
	}
	do(b.request("/"), func(_ http.ResponseWriter, r *http.Request) {
		require.NoError(t, m.From(r.Context()).SignIn(r.Context(), "mxm:1"))
	})
	do(b.request("/"), func(_ http.ResponseWriter, r *http.Request) { require.Equal(t, "mxm:1", session.UserID(r.Context())) })
	r := b.request("/")
	r.AddCookie(&http.Cookie{Name: "session", Value: "another"})
	do(r, func(_ http.ResponseWriter, r *http.Request) { require.Empty(t, session.UserID(r.Context())) })
}

// Whichever way the application uses its own manager besides us, its idle
// timeout means what it meant without us: a browser in use stays signed in to
// both, and an idle one to neither.
func TestApplicationsOwnIdleTimeout(t *testing.T) {
	type build func(m manager, h http.Handler) http.Handler
	wrapped := func(m manager, h http.Handler) http.Handler { return m.Wrap(h) }
	around := func(m manager, h http.Handler) http.Handler { return m.scs.LoadAndSave(h) }
	for name, chain := range map[string]struct{ ours, theirs build }{
		"around us":   {func(m manager, h http.Handler) http.Handler { return around(m, m.Wrap(h)) }, around},
		"inside us":   {func(m manager, h http.Handler) http.Handler { return m.Wrap(around(m, h)) }, func(m manager, h http.Handler) http.Handler { return m.Wrap(around(m, h)) }},
		"elsewhere":   {wrapped, around},
		"not at all":  {wrapped, wrapped},
		"only for us": {func(m manager, h http.Handler) http.Handler { return around(m, m.Wrap(h)) }, wrapped},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sessions := applications(core.NewMemory())
				sessions.IdleTimeout = 30 * time.Minute
				m := manage(sessions, nil)
				b, expires := browser{}, time.Time{}
				do := func(chain build, h http.HandlerFunc) {
					if time.Now().After(expires) {
						clear(b)
					}
					w := httptest.NewRecorder()
					chain(m, h).ServeHTTP(w, b.request("/"))
					b.keep(w)
					for _, c := range w.Result().Cookies() {
						expires = time.Now().Add(time.Duration(c.MaxAge) * time.Second)
					}
				}
				do(chain.theirs, func(_ http.ResponseWriter, r *http.Request) { sessions.Put(r.Context(), "app", "ann") })
				do(chain.ours, func(_ http.ResponseWriter, r *http.Request) {
					require.NoError(t, m.From(r.Context()).SignIn(r.Context(), "mxm:1"))
				})
				for range 12 {
					time.Sleep(10 * time.Minute)
					do(chain.theirs, func(_ http.ResponseWriter, r *http.Request) {
						require.Equal(t, "ann", sessions.GetString(r.Context(), "app"))
					})
				}
				do(chain.ours, func(_ http.ResponseWriter, r *http.Request) {
					require.Equal(t, "mxm:1", session.UserID(r.Context()))
					require.Equal(t, "ann", sessions.GetString(r.Context(), "app"))
				})
				time.Sleep(31 * time.Minute)
				do(chain.ours, func(_ http.ResponseWriter, r *http.Request) {
					require.Empty(t, session.UserID(r.Context()))
					require.Empty(t, sessions.GetString(r.Context(), "app"))
				})
			})
		})
	}
}

// The cookie goes even when the session could not be ended.
func TestFailedLogoutUnderLoadAndSave(t *testing.T) {
	store := &watchedStore{Memory: core.NewMemory()}
	sessions := applications(store)
	m := manage(sessions, nil)
	b := browser{}
	do := func(h http.HandlerFunc) {
		w := httptest.NewRecorder()
		sessions.LoadAndSave(m.Wrap(h)).ServeHTTP(w, b.request("/"))
		b.keep(w)
	}
	do(func(_ http.ResponseWriter, r *http.Request) {
		require.NoError(t, m.From(r.Context()).SignIn(r.Context(), "mxm:1"))
	})
	require.NotEmpty(t, b)
	store.deletesFail.Store(true)
	do(func(_ http.ResponseWriter, r *http.Request) {
		require.Error(t, m.From(r.Context()).SignOut(r.Context()))
	})
	require.Empty(t, b)
}
