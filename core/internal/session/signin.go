package session

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"
)

// signIn is our part of a session.
type signIn struct {
	user     string
	expires  int64 // Unix seconds: when the sign-in ends at the latest
	lastSeen int64 // Unix milliseconds, to the precision of touchEvery; in seconds, a session would end up to one too early
}

func (in signIn) String() string {
	return strconv.FormatInt(in.expires, 36) + " " + strconv.FormatInt(in.lastSeen, 36) + " " + in.user
}

// idle returns how long nobody has used the session.
func (in signIn) idle(now time.Time) time.Duration { return now.Sub(time.UnixMilli(in.lastSeen)) }

func parseSignIn(text string) (in signIn, ok bool) {
	expires, rest, _ := strings.Cut(text, " ")
	lastSeen, user, ok := strings.Cut(rest, " ")
	if !ok {
		return signIn{}, false
	}
	var err1, err2 error
	in.expires, err1 = strconv.ParseInt(expires, 36, 64)
	in.lastSeen, err2 = strconv.ParseInt(lastSeen, 36, 64)
	in.user = user
	return in, err1 == nil && err2 == nil && user != ""
}

var errAnswered = errors.New("the request has been answered already")

// SignIn signs user in, under a new session token. The session keeps its
// contents if it was anonymous or the same user's, and is emptied otherwise.
func (s *Session) SignIn(ctx context.Context, user string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.saved {
		return errAnswered
	}
	m := s.manager
	if err := m.scs.RenewToken(ctx); err != nil {
		return err // the session is as it was
	}
	if s.user != "" && s.user != user {
		if err := m.scs.Clear(ctx); err != nil {
			return err
		}
	}
	now := time.Now()
	m.scs.Put(ctx, m.opts.Key, signIn{user: user, expires: now.Add(m.scs.Lifetime).Unix(), lastSeen: now.UnixMilli()}.String())
	s.user = user
	return nil
}

// SignOut ends the session in the store; Save then removes the cookie. In
// connect mode there is no session to end.
func (s *Session) SignOut(ctx context.Context) error {
	if s.manager.connects() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.user = ""
	if s.unavailable != nil {
		s.forget = true
		return s.unavailable
	}
	if s.manager.scs.Token(s) == "" {
		s.forget = s.token != ""
		return nil
	}
	if err := s.manager.scs.Destroy(ctx); err != nil {
		s.forget = true
		return err
	}
	return nil
}
