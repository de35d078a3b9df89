package core

import (
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/alexedwards/scs/v2"
)

const (
	sessionCookie   = "mxm_session"
	hostPrefix      = "__Host-"
	sessionLifetime = 24 * time.Hour
	sessionTimeout  = 5 * time.Second // for one write to the session store
	scsTokenLength  = 43              // 32 bytes, base64url
)

// NewSessions returns a session manager with secure defaults over store: the
// cookie __Host-mxm_session with Secure, HttpOnly and SameSite=Lax, tokens
// hashed in the store, a lifetime of 24 hours, and a codec that does without
// gob for basic types. [New] takes Secure and the prefix off where RedirectURL
// is http. A session holds at most 1 MiB.
//
// IdleTimeout may be set: it is enforced by [Auth.Wrap], which writes a session
// at most once per tenth of it, or minute, not on each request. Unlike what a
// store keeps of an expiry, it is judged by the clocks of the instances: one that
// is ahead by more than the timeout ends the sessions that the others serve.
func NewSessions(store scs.CtxStore) *scs.SessionManager {
	s := newManager()
	s.Store = store
	s.Codec = sessionCodec{}
	s.HashTokenInStore = true
	s.Lifetime = sessionLifetime
	s.Cookie.Name = hostPrefix + sessionCookie
	s.Cookie.Secure = true
	return s
}

// ours reports whether NewSessions made s.
func ours(s *scs.SessionManager) bool {
	_, ok := s.Codec.(sessionCodec)
	return ok
}

// useSessions takes the configured manager into use. Requests are served with
// a copy that shares its context key. Of one made by NewSessions the copy has
// no idle timeout, since scs's own rewrites the session, and its cookie, on
// every request. The application's own manager keeps it: other parts of the
// application may be using the session where we do not see it.
func (a *Auth) useSessions() {
	configured := a.cfg.Sessions
	if ours(configured) && !a.secure {
		configured.Cookie.Secure = false
		configured.Cookie.Name = strings.TrimPrefix(configured.Cookie.Name, hostPrefix)
	}
	served := *configured
	if ours(configured) {
		a.idleTimeout, served.IdleTimeout = configured.IdleTimeout, 0
	}
	a.contextKey = lazyKey(configured)
	served.Codec = markingCodec{configured.Codec}
	a.sessions = &served
	// Another Auth that shares the manager must not see this one's users.
	a.sessionKey = "mxmconnect " + a.grants.Place()
}

var managers atomic.Int64

// newManager is scs.New without the memory store that comes with it: that one
// starts a goroutine which nothing can stop without a race. What remains to be
// given is the context key, which is unexported and must differ between
// managers. Should a later scs have another, its own New does.
func newManager() *scs.SessionManager {
	m := &scs.SessionManager{
		ErrorFunc: func(w http.ResponseWriter, r *http.Request, err error) {
			WriteError(w, r, fail("session", ErrUnavailable, err))
		},
		Cookie: scs.SessionCookie{HttpOnly: true, Path: "/", SameSite: http.SameSiteLaxMode, Persist: true},
	}
	key := contextKeyField(m)
	if !key.IsValid() {
		return scs.New()
	}
	key.SetString("mxmconnect." + strconv.FormatInt(managers.Add(1), 10))
	return m
}

// contextKeyField returns the field of m that is the key of its data in a
// context, ready to be read and set, or the zero Value.
func contextKeyField(m *scs.SessionManager) reflect.Value {
	key := reflect.ValueOf(m).Elem().FieldByName("contextKey")
	if !key.IsValid() || key.Kind() != reflect.String {
		return reflect.Value{}
	}
	return reflect.NewAt(key.Type(), key.Addr().UnsafePointer()).Elem()
}
