package session_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

// browser holds the cookies that earlier answers left.
type browser map[string]*http.Cookie

func (b browser) request(target string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for _, c := range b {
		r.AddCookie(c)
	}
	return r
}

func (b browser) keep(w *httptest.ResponseRecorder) {
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b, c.Name)
		} else {
			b[c.Name] = c
		}
	}
}

// watchedStore counts what reaches a session store, and can be down.
type watchedStore struct {
	*core.Memory
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

// manager is a Manager and the scs manager that it was made of.
type manager struct {
	*session.Manager
	scs *scs.SessionManager
}

const key = "sign-in"

// manage returns a manager of sessions for an application on https.
func manage(sessions *scs.SessionManager, change func(*session.Options)) manager {
	o := session.Options{
		Sessions: sessions, Secure: true, Key: key, Logger: slog.New(slog.DiscardHandler),
		Refuse: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusServiceUnavailable) },
	}
	if change != nil {
		change(&o)
	}
	return manager{session.New(o), sessions}
}

// newManager returns a manager of sessions in a watched store.
func newManager(change func(*scs.SessionManager)) (manager, *watchedStore) {
	store := &watchedStore{Memory: core.NewMemory()}
	sessions := core.NewSessions(store)
	if change != nil {
		change(sessions)
	}
	return manage(sessions, nil), store
}

// applications returns a manager such as an application makes with scs.New,
// without its goroutine.
func applications(store scs.CtxStore) *scs.SessionManager {
	sessions := core.NewSessions(store)
	sessions.Codec, sessions.HashTokenInStore = scs.GobCodec{}, false
	sessions.Cookie.Name, sessions.Cookie.Secure = "session", false
	return sessions
}

// serve answers one request of b through Wrap.
func serve(m manager, b browser, h http.HandlerFunc) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	m.Wrap(h).ServeHTTP(w, b.request("/"))
	b.keep(w)
	return w
}

func signIn(t testing.TB, m manager, b browser, user string) {
	w := serve(m, b, func(w http.ResponseWriter, r *http.Request) {
		require.NoError(t, m.From(r.Context()).SignIn(r.Context(), user))
	})
	require.Equal(t, http.StatusOK, w.Code)
	require.NotNil(t, b["__Host-Http-mxm_session"])
}

func whoAmI(m manager, b browser) (user string, w *httptest.ResponseRecorder) {
	w = serve(m, b, func(w http.ResponseWriter, r *http.Request) { user = session.UserID(r.Context()) })
	return user, w
}
