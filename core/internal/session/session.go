// Package session knows who is signed in to a request. It reads a session when
// the request begins, in a form that costs little, and saves it before the
// first byte of the answer. In connect mode it asks the application instead.
// A session holds who signed in and what the application puts there, and never
// a token of Musixmatch.
package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alexedwards/scs/v2"
)

// Session is what one request knows about its user. It is the request's context.
type Session struct {
	context.Context

	manager *Manager
	token   string // as the browser sent it, or ""
	lazy    lazyData

	foreign     bool  // the application's own LoadAndSave is around us, and saves
	unavailable error // the store could not be read

	// A route may still be at work when an http.TimeoutHandler inside Wrap has
	// answered for it: mu guards what both of them touch. Nobody holds it while
	// a store, a logger or another part of the application runs, because that
	// may ask for the user.
	mu     sync.Mutex
	user   string // sign-in mode
	forget bool   // the browser's cookie is of no use and must go
	saved  bool

	changed atomic.Bool // the session had changed when it was saved

	// fresh is set by a sign-in of this request that is not listed yet, to the
	// one that it replaces.
	fresh atomic.Pointer[signIn]

	writer  hijackable
	headers [2]string // the values of the two headers that every answer gets

	request *http.Request
	link    link // connect mode

	required atomic.Bool // see Require
	outer    *Session    // of another Manager, required around this one; or nil
}

type sessionKey struct{ manager *Manager }

// unwatchedKey finds the session of another Manager that loaded, and will save,
// the data of sessions, while scs watches no idle timeout.
type unwatchedKey struct{ sessions *scs.SessionManager }

// From returns the session that Load put into ctx, or nil.
func (m *Manager) From(ctx context.Context) *Session {
	s, _ := ctx.Value(sessionKey{m}).(*Session)
	return s
}

// Load reads the session of r and returns r with it in its context. It never
// fails: without a session the request is anonymous.
func (m *Manager) Load(r *http.Request) (*Session, *http.Request) {
	s := &Session{Context: r.Context(), manager: m, request: r}
	if outer, ok := s.Context.Value(userKey{}).(*Session); ok && outer.required.Load() {
		s.outer = outer
	}
	if !m.connects() {
		s.load()
	}
	return s, r.WithContext(s)
}

// Value makes the session the context of its request.
func (s *Session) Value(key any) any {
	switch k := key.(type) {
	case sessionKey:
		if k.manager == s.manager {
			return s
		}
	case userKey:
		if s.outer != nil {
			return s.outer
		}
		return s
	case unwatchedKey:
		if k.sessions == s.manager.opts.Sessions && !s.foreign {
			return s
		}
	default:
		if s.lazy.used && key == s.manager.contextKey {
			data, _ := s.open()
			return data
		}
	}
	return s.Context.Value(key)
}

// String keeps the session's cookie, which its request has, out of printed contexts.
func (s *Session) String() string { return "mxmconnect session" }

// Format does the same for every verb.
func (s *Session) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// UserID returns the Musixmatch user, or "". The error means that nobody can
// say at the moment. In connect mode it asks the application with ctx.
func (s *Session) UserID(ctx context.Context) (string, error) {
	if s.manager.connects() {
		return s.linkedUser(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.user, s.unavailable
}

// Unavailable returns why the store could not be read, or nil.
func (s *Session) Unavailable() error { return s.unavailable }

// Detached returns a context that does not end with the request, but after
// limit: a browser that goes away must not stop a write.
func (s *Session) Detached(limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(s), limit)
}

func (s *Session) load() {
	m := s.manager
	if m.contextKey != nil {
		s.lazy.used = s.request.Context().Value(m.contextKey) == nil
	}
	token, found := cookieValue(s.request, m.scs.Cookie.Name)
	switch {
	case found == 0:
		s.anonymous()
		if s.foreign {
			s.readUser(m.scs.GetString(s, m.opts.Key))
		}
		return
	case found > 1: // one was planted: neither is believed
		s.anonymous()
		return
	case len(token) != tokenLength:
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
		// If the store does not know the token, its cookie stays. A sign-in in
		// another tab may have renewed it, and removing it in this slower answer
		// would remove the new cookie.
		s.readUser(text)
	}
}

// anonymous gives the request a new session.
func (s *Session) anonymous() {
	if s.lazy.used {
		s.lazy.set(nil)
		return
	}
	s.Context, _ = s.manager.scs.Load(s.request.Context(), "")
	s.foreign = s.Context == s.request.Context()
}

// fetch reads the session from the store and returns our part of it.
func (s *Session) fetch() (string, error) {
	m := s.manager
	if s.lazy.used {
		return s.peek()
	}
	ctx, err := m.scs.Load(s.request.Context(), s.token)
	if err != nil {
		return "", err
	}
	s.Context, s.foreign = ctx, ctx == s.request.Context()
	return m.scs.GetString(s, m.opts.Key), nil
}

// readUser takes the user out of our part of the session, unless it has ended.
func (s *Session) readUser(text string) {
	in, ok := parseSignIn(text)
	if !ok {
		return
	}
	now := time.Now()
	if now.Unix() >= in.expires || s.idledOut(in, now) {
		s.expire(in)
		return
	}
	if !s.isListed(in) { // it was renewed where this package did not see it
		switch ok, err := s.enlist(); {
		case err != nil:
			s.unavailable = err
			s.anonymous()
			return
		case !ok:
			s.expire(in)
			return
		}
	}
	s.user = in.user
	s.touch(in, now)
}

// cookieValue returns the value of a cookie and how many have that name.
func cookieValue(r *http.Request, name string) (value string, found int) {
	for n, v := range Cookies(r) {
		if n == name {
			value = v
			found++
		}
	}
	return value, found
}

// maxCookies is more than any browser keeps for one site.
const maxCookies = 1000

// Cookies yields the names and values of the first maxCookies cookies, as they
// were sent. Every request pays for it; r.Cookies would parse and copy them.
func Cookies(r *http.Request) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		n := 0
		for _, line := range r.Header["Cookie"] {
			for len(line) > 0 && n < maxCookies {
				var part string
				part, line, _ = strings.Cut(line, ";")
				name, value, ok := strings.Cut(strings.Trim(part, " \t"), "=")
				if ok && !yield(name, value) {
					return
				}
				n++
			}
		}
	}
}
