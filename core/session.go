package core

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"
)

// session is what one request knows about who is asking.
type session struct {
	context.Context // the request's

	auth  *Auth
	token string // as the browser sent it, or ""
	lazy  lazyData

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

// unwatchedContextKey finds the session of another Auth that has loaded and will
// save what is in sessions, while scs watches no idle timeout.
type unwatchedContextKey struct{ sessions *scs.SessionManager }

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
		s.load()
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
	case unwatchedContextKey:
		if k.sessions == s.auth.cfg.Sessions && !s.foreign {
			return s
		}
	default:
		if s.lazy.used && key == s.auth.contextKey {
			data, _ := s.open()
			return data
		}
	}
	return s.Context.Value(key)
}

func (s *session) load() {
	a := s.auth
	if a.contextKey != nil {
		s.lazy.used = s.request.Context().Value(a.contextKey) == nil
	}
	token, found := cookieValue(s.request, a.sessions.Cookie.Name)
	switch {
	case found == 0:
		s.anonymous()
		if s.foreign {
			s.readUser(a.sessions.GetString(s, a.sessionKey))
		}
		return
	case found > 1: // one was planted: neither is believed
		s.anonymous()
		return
	case len(token) != scsTokenLength:
		s.forget = true
		s.anonymous()
		return
	}
	s.token = token
	text, err := s.fetch()
	switch {
	case errors.Is(err, errUndecodable):
		s.forget = true
		s.anonymous()
	case err != nil:
		s.unavailable = err
		s.anonymous()
	default:
		// A token that is not found is left in the browser: it may have been
		// renewed by a sign-in in another tab, whose cookie a removal by this
		// slower answer would take away.
		s.readUser(text)
	}
}

// anonymous gives the request a new session.
func (s *session) anonymous() {
	if s.lazy.used {
		s.lazy.set(nil)
		return
	}
	s.Context, _ = s.auth.sessions.Load(s.request.Context(), "")
	s.foreign = s.Context == s.request.Context()
}

// fetch reads the session from the store and returns our part of it.
func (s *session) fetch() (string, error) {
	a := s.auth
	if s.lazy.used {
		return s.peek()
	}
	ctx, err := a.sessions.Load(s.request.Context(), s.token)
	if err != nil {
		return "", err
	}
	s.Context, s.foreign = ctx, ctx == s.request.Context()
	return a.sessions.GetString(s, a.sessionKey), nil
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

// readUser takes the user out of our part of the session, unless it has ended.
func (s *session) readUser(text string) {
	a := s.auth
	st, ok := parseStamp(text)
	if !ok {
		return
	}
	now := time.Now()
	idle := now.Sub(time.UnixMilli(st.seen))
	// What scs itself loads and saves it watches, too.
	watched := a.idleTimeout > 0 && (!s.foreign || s.request.Context().Value(unwatchedContextKey{a.cfg.Sessions}) != nil)
	if now.Unix() >= st.until || (watched && idle > a.idleTimeout+a.touchEvery()) {
		s.end()
		return
	}
	s.user = st.user
	if watched && idle >= a.touchEvery() {
		s.touch(st, now)
	}
}
