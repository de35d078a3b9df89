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
	expires  int64  // Unix seconds: when the sign-in ends at the latest, or ended
	lastSeen int64  // Unix milliseconds, to the precision of touchEvery; in seconds, a session would end up to one too early
	epoch    int64  // of the list, when the sign-in began
	listed   string // the key that it is listed with, or ""
}

// ended is when a sign-in expires that has ended in a session that lives on.
const ended = 0

func (in signIn) String() string {
	return strconv.FormatInt(in.expires, 36) + " " + strconv.FormatInt(in.lastSeen, 36) + " " +
		strconv.FormatInt(in.epoch, 36) + " " + in.listed + " " + in.user
}

// idle returns how long nobody has used the session.
func (in signIn) idle(now time.Time) time.Duration { return now.Sub(time.UnixMilli(in.lastSeen)) }

func parseSignIn(text string) (in signIn, ok bool) {
	expires, rest, _ := strings.Cut(text, " ")
	lastSeen, rest, _ := strings.Cut(rest, " ")
	epoch, rest, _ := strings.Cut(rest, " ")
	listed, user, ok := strings.Cut(rest, " ")
	if !ok {
		return signIn{}, false
	}
	var err1, err2, err3 error
	in.expires, err1 = strconv.ParseInt(expires, 36, 64)
	in.lastSeen, err2 = strconv.ParseInt(lastSeen, 36, 64)
	in.epoch, err3 = strconv.ParseInt(epoch, 36, 64)
	in.listed, in.user = listed, user
	return in, err1 == nil && err2 == nil && err3 == nil && user != ""
}

var errAnswered = errors.New("the request has been answered already")

// SignIn signs user in, under a new session token. The session keeps its
// contents if they are the same user's or nobody's, and is emptied otherwise.
func (s *Session) SignIn(ctx context.Context, user string) error {
	if s.answered() {
		return errAnswered
	}
	if s.unavailable != nil {
		return s.unavailable
	}
	m := s.manager
	stored := m.scs.GetString(ctx, m.opts.Key)
	replaced, _ := parseSignIn(stored)
	s.fresh.Store(&replaced)
	if err := m.scs.RenewToken(ctx); err != nil {
		return err // the session is as it was
	}
	// Whose contents these are, the session says. This request may not have
	// believed it: of two cookies we take none, and a LoadAndSave around us one.
	if stored != "" && replaced.user != user {
		if err := m.scs.Clear(ctx); err != nil {
			return err
		}
	}
	now := time.Now()
	m.scs.Put(ctx, m.opts.Key, signIn{user: user, expires: now.Add(m.scs.Lifetime).Unix(), lastSeen: now.UnixMilli()}.String())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.saved {
		return errAnswered // meanwhile, by an http.TimeoutHandler
	}
	s.user = user
	return nil
}

func (s *Session) answered() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saved
}

// SignOut ends the session in the store; Save then removes the cookie. In
// connect mode there is no session to end.
func (s *Session) SignOut(ctx context.Context) error {
	m := s.manager
	if m.connects() {
		return nil
	}
	var err error
	forget := false
	switch {
	case s.unavailable != nil:
		err, forget = s.unavailable, true
	case m.scs.Token(s) == "":
		forget = s.token != ""
	default:
		in, _ := parseSignIn(m.scs.GetString(s, m.opts.Key))
		err = m.scs.Destroy(ctx)
		if forget = err != nil; !forget {
			s.leave(ctx, in)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.user = ""
	s.forget = s.forget || forget
	return err
}
