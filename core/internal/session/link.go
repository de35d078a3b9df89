package session

import (
	"context"
	"errors"
	"net/http"
	"sync"
)

// link is the application's user and the Musixmatch user linked to it. In
// connect mode it takes the place of a session.
type link struct {
	sync.Mutex
	appUser, user string
	err           error
}

// askingKey marks a context in which the application is being asked who is
// signed in. The application may use it for a log line that asks us, which must
// not ask the application again.
type askingKey struct{ manager *Manager }

var errAsking = errors.New("the application is being asked who is signed in")

func (m *Manager) asking(ctx context.Context) context.Context {
	return context.WithValue(ctx, askingKey{m}, true)
}

// AppUser returns the user whom the application has signed in, in connect mode.
// It asks with the caller's context: the middleware that signs people in may
// stand between ours and the handler.
func (s *Session) AppUser(ctx context.Context) string {
	m := s.manager
	if !m.connects() {
		return ""
	}
	return m.opts.AppUser(s.request.WithContext(m.asking(ctx)))
}

// linkedUser asks the application once for each of its users, or more often if
// several goroutines need the first answer at once. None waits for another: the
// application may need what the other one holds.
func (s *Session) linkedUser(ctx context.Context) (string, error) {
	m := s.manager
	if ctx.Value(askingKey{m}) != nil {
		return "", errAsking
	}
	appUser := s.AppUser(ctx)
	if appUser == "" || m.opts.LinkedUser == nil {
		return "", nil
	}
	l := &s.link
	l.Lock()
	known, user, err := l.appUser == appUser, l.user, l.err
	l.Unlock()
	if known {
		return user, err
	}
	if user, err = m.opts.LinkedUser(m.asking(ctx), appUser); err != nil {
		user = ""
	}
	l.Lock()
	defer l.Unlock()
	if l.appUser != appUser { // or else another goroutine's answer stands
		l.appUser, l.user, l.err = appUser, user, err
	}
	return l.user, l.err
}

// saveLink stores nothing: it keeps an answer that may depend on the linked
// user out of shared caches.
func (s *Session) saveLink(h http.Header) {
	s.link.Lock()
	defer s.link.Unlock()
	if s.link.appUser == "" || s.saved {
		return
	}
	s.saved = true
	s.forbidCaching(h, s.link.user)
}
