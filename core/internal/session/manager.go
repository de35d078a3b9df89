package session

import (
	"context"
	"log/slog"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/alexedwards/scs/v2"
)

const (
	// HostPrefix is the prefix of a cookie that no other host can set.
	HostPrefix = "__Host-"
	// HTTPPrefix is the prefix of one that no script can set either, in browsers
	// that know it. To the others it begins with HostPrefix.
	HTTPPrefix = HostPrefix + "Http-"
	// StoreTimeout bounds one write to the session store.
	StoreTimeout = 5 * time.Second

	cookieName      = "mxm_session"
	defaultLifetime = 24 * time.Hour
	tokenLength     = 43 // of scs: 32 bytes, base64url
)

// Options is what a [Manager] needs. Sessions, Key, Logger and Refuse are required.
type Options struct {
	// Sessions is the manager that the application configured. Without Secure,
	// a cookie of one made by NewSessions loses Secure and the prefix.
	Sessions *scs.SessionManager
	Secure   bool
	// Key is where the sign-in is kept in a session.
	Key string
	// AppUser switches to connect mode, where no session is kept.
	AppUser    func(*http.Request) string
	LinkedUser func(ctx context.Context, appUser string) (userID string, err error)
	Logger     *slog.Logger
	// List is told of sign-ins, so that they can be ended. With it, the store is
	// a [scs.CtxStore] that keeps deleted sessions deleted. It may be nil.
	List List
	// Refuse answers a request whose session could not be saved.
	Refuse func(w http.ResponseWriter, r *http.Request, cause error)
	// Owner is returned by the function Owner for a request of this Manager.
	Owner any
}

// Manager loads and saves the sessions of requests. It is safe for concurrent use.
type Manager struct {
	opts        Options
	scs         *scs.SessionManager // a copy of opts.Sessions that serves requests
	contextKey  any                 // where scs keeps a session in a context, or nil; see lazyKey
	idleTimeout time.Duration
}

// New returns a Manager. It serves requests with a copy of opts.Sessions that
// shares its context key.
//
// If NewSessions made opts.Sessions, the copy has no idle timeout: scs's own
// rewrites the session and its cookie on every request. The application's own
// manager keeps it, because other parts of the application may use the session
// where this package does not see it.
func New(opts Options) *Manager {
	configured := opts.Sessions
	if Ours(configured) && !opts.Secure {
		configured.Cookie.Secure = false
		configured.Cookie.Name = strings.TrimPrefix(strings.TrimPrefix(configured.Cookie.Name, HTTPPrefix), HostPrefix)
	}
	served := *configured
	served.Codec = markingCodec{configured.Codec}
	m := &Manager{opts: opts, scs: &served, contextKey: lazyKey(configured)}
	if Ours(configured) {
		m.idleTimeout, served.IdleTimeout = configured.IdleTimeout, 0
	}
	return m
}

// connects reports whether this is connect mode.
func (m *Manager) connects() bool { return m.opts.AppUser != nil }

// NewSessions returns a session manager with secure defaults over store.
// onError answers where scs's own middleware fails.
func NewSessions(store scs.CtxStore, onError func(http.ResponseWriter, *http.Request, error)) *scs.SessionManager {
	s := newSCS()
	s.Store = store
	s.Codec = codec{}
	s.ErrorFunc = onError
	s.HashTokenInStore = true
	s.Lifetime = defaultLifetime
	s.Cookie = scs.SessionCookie{
		Name: HTTPPrefix + cookieName, Path: "/", Secure: true, HttpOnly: true,
		SameSite: http.SameSiteLaxMode, Persist: true,
	}
	return s
}

// Ours reports whether NewSessions made s.
func Ours(s *scs.SessionManager) bool {
	_, ok := s.Codec.(codec)
	return ok
}

var managers atomic.Int64

// newSCS is scs.New without its memory store, whose goroutine cannot be stopped
// without a race. The context key is unexported and must differ between
// managers. If a later scs keeps it elsewhere, its own New makes the manager.
func newSCS() *scs.SessionManager {
	m := &scs.SessionManager{}
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
