package core

import (
	"context"
	"errors"
	"time"
)

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
	if s.auth.sessions.Token(s) == "" {
		s.forget = s.token != ""
		return nil
	}
	if err := s.auth.sessions.Destroy(ctx); err != nil {
		s.forget = true
		return err
	}
	return nil
}
