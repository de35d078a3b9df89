package session

import (
	"context"
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

// AppUser returns the user whom the application has signed in, in connect mode.
// It asks with the caller's context: the middleware that signs people in may
// stand between ours and the handler.
func (s *Session) AppUser(ctx context.Context) string {
	if !s.manager.connects() {
		return ""
	}
	return s.manager.opts.AppUser(s.request.WithContext(ctx))
}

// linkedUser asks the application once for each of its users.
func (s *Session) linkedUser(ctx context.Context) (string, error) {
	appUser := s.AppUser(ctx)
	if appUser == "" || s.manager.opts.LinkedUser == nil {
		return "", nil
	}
	l := &s.link
	l.Lock()
	defer l.Unlock()
	if l.appUser != appUser {
		user, err := s.manager.opts.LinkedUser(ctx, appUser)
		if err != nil {
			user = ""
		}
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
