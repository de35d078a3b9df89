package core

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
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
// is http. IdleTimeout may be set: it is enforced by [Auth.Wrap], which writes
// a session at most once per tenth of it, or minute, not on each request.
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
	served.Codec = markingCodec{configured.Codec}
	a.sessions = &served
	// Another Auth that shares the manager must not see this one's users.
	a.sessionKey = "mxmconnect " + a.grants.key("")[len("grant_"):][:16]
}

// session is what one request knows about who is asking.
type session struct {
	context.Context // holds scs's data; what session.Value adds, it adds without another layer

	auth  *Auth
	token string // as the browser sent it, or ""

	// A route may still be at work when an http.TimeoutHandler inside Wrap has
	// answered for it: mu guards what both of them touch, from here to user.
	mu sync.Mutex

	foreign     bool  // the application's own LoadAndSave is around us, and saves
	unavailable error // the store could not be read
	forget      bool  // the browser's cookie is of no use and is to be removed
	saved       bool
	changed     bool // had changed when it was saved

	user string // sign-in mode

	writer  sessionWriter
	headers [2]string // the values of the two headers that every answer gets

	request *http.Request
	link    link // connect mode
}

type sessionContextKey struct{ auth *Auth }

// sessionOf returns the session that Wrap or a route has put into ctx, or nil.
func (a *Auth) sessionOf(ctx context.Context) *session {
	s, _ := ctx.Value(sessionContextKey{a}).(*session)
	return s
}

// load reads the session of r and returns r with it in its context. It never
// fails: without a session the request is anonymous.
func (a *Auth) load(r *http.Request) (*session, *http.Request) {
	s := &session{Context: r.Context(), auth: a, request: r}
	if a.cfg.AppUser == nil {
		a.loadSigned(s, r)
	}
	return s, r.WithContext(s)
}

// Value makes the session the context of its request.
func (s *session) Value(key any) any {
	switch k := key.(type) {
	case sessionContextKey:
		if k.auth == s.auth {
			return s
		}
	case userContextKey:
		return s
	}
	return s.Context.Value(key)
}

func (a *Auth) loadSigned(s *session, r *http.Request) {
	anonymous := func() {
		s.Context, _ = a.sessions.Load(r.Context(), "")
		s.foreign = s.Context == r.Context()
	}
	token, found := cookieValue(r, a.sessions.Cookie.Name)
	switch {
	case found == 0:
		anonymous()
		s.readUser()
		return
	case found > 1: // one was planted: neither is believed
		anonymous()
		return
	case len(token) != scsTokenLength:
		s.forget = true
		anonymous()
		return
	default:
		s.token = token
	}
	ctx, err := a.sessions.Load(r.Context(), s.token)
	switch {
	case errors.Is(err, errUndecodable):
		s.forget = true
		anonymous()
	case err != nil:
		s.unavailable = err
		anonymous()
	default:
		// A token that is not found is left in the browser: it may have been
		// renewed by a sign-in in another tab, whose cookie a removal by this
		// slower answer would take away.
		s.Context, s.foreign = ctx, ctx == r.Context()
		s.readUser()
	}
}

// cookieValue returns the value of a cookie and how many have that name. It is on
// the path of every request, where r.CookiesNamed would parse and copy all of them.
func cookieValue(r *http.Request, name string) (value string, found int) {
	for _, line := range r.Header["Cookie"] {
		for len(line) > 0 {
			var part string
			part, line, _ = strings.Cut(line, ";")
			if v, ok := strings.CutPrefix(strings.TrimLeft(part, " \t"), name+"="); ok {
				value = strings.TrimRight(v, " \t")
				found++
			}
		}
	}
	return value, found
}

// stamp is our part of a session: who signed in, until when at the longest, and
// when a request was last seen, to the precision of touchEvery.
type stamp struct {
	user  string
	until int64 // Unix seconds
	seen  int64 // Unix milliseconds: rounded to seconds, a session ended up to one too early
}

func (st stamp) String() string {
	return strconv.FormatInt(st.until, 36) + " " + strconv.FormatInt(st.seen, 36) + " " + st.user
}

func parseStamp(text string) (st stamp, ok bool) {
	until, rest, _ := strings.Cut(text, " ")
	seen, user, ok := strings.Cut(rest, " ")
	if !ok {
		return stamp{}, false
	}
	var err1, err2 error
	st.until, err1 = strconv.ParseInt(until, 36, 64)
	st.seen, err2 = strconv.ParseInt(seen, 36, 64)
	st.user = user
	return st, err1 == nil && err2 == nil && user != ""
}

// readUser takes the user out of the loaded session, unless it has ended.
func (s *session) readUser() {
	a := s.auth
	st, ok := parseStamp(a.sessions.GetString(s.Context, a.sessionKey))
	if !ok {
		return
	}
	now := time.Now()
	idle := now.Sub(time.UnixMilli(st.seen))
	watched := a.idleTimeout > 0 && !s.foreign // scs itself watches what it loads and saves
	if now.Unix() >= st.until || (watched && idle > a.idleTimeout+a.touchEvery()) {
		s.end()
		return
	}
	s.user = st.user
	if watched && idle >= a.touchEvery() {
		s.touch(st, now)
	}
}

// touchEvery is how exactly the idle timeout is kept: a session lives at least
// for the timeout and at most this much longer.
func (a *Auth) touchEvery() time.Duration { return min(a.idleTimeout/10, time.Minute) }

// touch writes at once that the session is in use. It writes what is stored
// now, not what this request will have made of it, so that it undoes no
// change of another request; a store that cannot write is tried again at the next one.
func (s *session) touch(st stamp, now time.Time) {
	a := s.auth
	base, cancel := context.WithTimeout(context.WithoutCancel(s.request.Context()), sessionTimeout)
	defer cancel()
	ctx, err := a.sessions.Load(base, s.token)
	if err != nil || a.sessions.Token(ctx) == "" {
		return
	}
	current, ok := parseStamp(a.sessions.GetString(ctx, a.sessionKey))
	if !ok || current.user != st.user {
		return
	}
	current.seen = now.UnixMilli()
	a.sessions.Put(ctx, a.sessionKey, current.String())
	if _, _, err := a.sessions.Commit(ctx); err != nil {
		return
	}
	if fresh, err := a.sessions.Load(s.request.Context(), s.token); err == nil {
		s.Context = fresh
	}
}

// end removes a session that has outlived itself, or from the application's
// own, which may live on, our part.
func (s *session) end() {
	if s.foreign || !ours(s.auth.cfg.Sessions) {
		s.auth.sessions.Remove(s.Context, s.auth.sessionKey)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.Context), sessionTimeout)
	defer cancel()
	if err := s.auth.sessions.Destroy(ctx); err != nil {
		// It stays in the store until it expires there, and is not believed.
		s.Context, _ = s.auth.sessions.Load(s.request.Context(), "")
		s.forget = true
	}
}

var errAnswered = errors.New("the request has been answered already")

// signIn makes user the one who is signed in, under a new session token. What
// an anonymous visitor or the same user had in the session stays in it.
func (s *session) signIn(ctx context.Context, user string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.saved {
		return errAnswered
	}
	sm := s.auth.sessions
	if err := sm.RenewToken(ctx); err != nil {
		return err // with the session as it was
	}
	if s.user != "" && s.user != user {
		if err := sm.Clear(ctx); err != nil {
			return err
		}
	}
	now := time.Now()
	sm.Put(ctx, s.auth.sessionKey, stamp{user: user, until: now.Add(sm.Lifetime).Unix(), seen: now.UnixMilli()}.String())
	s.user = user
	return nil
}

// signOut ends the session in the store and lets save remove the cookie.
func (s *session) signOut(ctx context.Context) error {
	if s.auth.cfg.AppUser != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.user = ""
	if s.unavailable != nil {
		s.forget = true
		return s.unavailable
	}
	if s.auth.sessions.Token(s.Context) == "" {
		s.forget = s.token != ""
		return nil
	}
	if err := s.auth.sessions.Destroy(ctx); err != nil {
		s.forget = true
		return err
	}
	return nil
}

// detached returns the session's context without the request's end, with a
// limit of its own: a browser that goes away must not stop a write.
func (s *session) detached(limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(s.Context), limit)
}

// save writes a changed session to the store and its cookie to h, once, before
// the first byte of the answer.
func (s *session) save(w http.ResponseWriter) error {
	if s.auth.cfg.AppUser != nil {
		s.link.Lock()
		defer s.link.Unlock()
		if s.link.appUser != "" && !s.saved { // the answer may depend on whom we found linked
			s.saved, s.user = true, s.link.user
			s.forbidCaching(w.Header())
		}
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.saved {
		return nil
	}
	s.saved = true
	h := w.Header()
	defer s.forbidCaching(h)
	if s.foreign {
		return nil
	}
	sm := s.auth.sessions
	status := sm.Status(s.Context)
	s.changed = status == scs.Modified
	if s.hasCookie(h) {
		return nil
	}
	switch status {
	case scs.Modified:
		return s.commit(w)
	case scs.Destroyed:
		s.forget = s.token != ""
	}
	if s.forget {
		sm.WriteSessionCookie(s.Context, w, "", time.Time{})
	}
	return nil
}

func (s *session) commit(w http.ResponseWriter) error {
	if s.unavailable != nil {
		return s.unavailable // a new session would take the place of one that is only out of reach
	}
	ctx, cancel := s.detached(sessionTimeout)
	defer cancel()
	token, expiry, err := s.auth.sessions.Commit(ctx)
	if err != nil {
		return err
	}
	if token != s.token || s.auth.sessions.IdleTimeout > 0 { // then the cookie's end moves, too
		s.auth.sessions.WriteSessionCookie(s.Context, w, token, expiry)
	}
	return nil
}

// saveLate stores a change that was made after the first byte. Only a session
// that the browser already has a cookie for can be saved then.
func (s *session) saveLate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.foreign || s.changed || s.auth.cfg.AppUser != nil || s.auth.sessions.Status(s.Context) != scs.Modified {
		return
	}
	ctx, cancel := s.detached(sessionTimeout)
	defer cancel()
	if s.token == "" || s.unavailable != nil || s.auth.sessions.Token(s.Context) != s.token {
		s.auth.log.WarnContext(ctx, "musixmatch session changed after the first byte of the answer; the change is lost")
		return
	}
	if _, _, err := s.auth.sessions.Commit(ctx); err != nil {
		s.auth.log.ErrorContext(ctx, "musixmatch session not saved", "error", err.Error())
	}
}

// hasCookie reports whether an inner LoadAndSave has saved already.
func (s *session) hasCookie(h http.Header) bool {
	for _, line := range h["Set-Cookie"] {
		if strings.HasPrefix(line, s.auth.sessions.Cookie.Name+"=") {
			return true
		}
	}
	return false
}

// forbidCaching keeps shared caches away from an answer that may depend on who
// asks. A handler's own Cache-Control stands where nobody is signed in and no
// cookie is set, or where it is at least private.
func (s *session) forbidCaching(h http.Header) {
	if vary := h["Vary"]; len(vary) == 0 {
		s.headers[0] = "Cookie"
		h["Vary"] = s.headers[:1:1]
	} else if !slices.Contains(vary, "Cookie") {
		h.Add("Vary", "Cookie")
	}
	own := h["Cache-Control"]
	if len(own) > 0 && len(h["Set-Cookie"]) == 0 {
		text := strings.ToLower(strings.Join(own, ","))
		if s.user == "" || strings.Contains(text, "private") || strings.Contains(text, "no-store") {
			return
		}
	}
	s.headers[1] = "no-store"
	h["Cache-Control"] = s.headers[1:2:2]
}
