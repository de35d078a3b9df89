package session

import (
	"context"
	"time"
)

// touchEvery is the precision of the idle timeout: a session lives at least for
// the timeout and at most this much longer.
func (m *Manager) touchEvery() time.Duration { return min(m.idleTimeout/10, time.Minute) }

// watched reports whether this package keeps the idle timeout of the session.
// If scs itself loads and saves the session, scs keeps it.
func (s *Session) watched() bool {
	m := s.manager
	return m.idleTimeout > 0 && (!s.foreign || s.request.Context().Value(unwatchedKey{m.opts.Sessions}) != nil)
}

// idledOut reports whether nobody has used the session for too long.
func (s *Session) idledOut(in signIn, now time.Time) bool {
	return s.watched() && in.idle(now) > s.manager.idleTimeout+s.manager.touchEvery()
}

// touch notes that the session is in use, at most once per touchEvery.
func (s *Session) touch(in signIn, now time.Time) {
	switch {
	case !s.watched() || in.idle(now) < s.manager.touchEvery():
	case s.ended(in):
		s.user = ""
		s.expire(in)
	case s.foreign:
		s.touchLoaded() // and it is saved with the rest
	default:
		s.touchStore(in.user, now)
	}
}

// touchStore writes at once that user's session is in use. It changes what is
// stored now, not what this request has loaded, so that it undoes no change of
// another request. If the store cannot write, the next request tries again.
func (s *Session) touchStore(user string, now time.Time) {
	m := s.manager
	base, cancel := context.WithTimeout(context.WithoutCancel(s.request.Context()), StoreTimeout)
	defer cancel()
	ctx, err := m.scs.Load(base, s.token)
	if err != nil || m.scs.Token(ctx) == "" {
		return
	}
	current, ok := parseSignIn(m.scs.GetString(ctx, m.opts.Key))
	if !ok || current.user != user {
		return
	}
	current.lastSeen = now.UnixMilli()
	m.scs.Put(ctx, m.opts.Key, current.String())
	if _, _, err := m.scs.Commit(ctx); err == nil {
		_, _ = s.fetch() // this request's own changes build upon it
	}
}

// touchLoaded notes in a loaded session, which is about to be written, that it
// is in use. Other requests may have noted a later time than the one loaded.
func (s *Session) touchLoaded() {
	m := s.manager
	if in, ok := parseSignIn(m.scs.GetString(s, m.opts.Key)); ok && m.idleTimeout > 0 {
		in.lastSeen = time.Now().UnixMilli()
		m.scs.Put(s, m.opts.Key, in.String())
	}
}

// disown ends the sign-in in a session that lives on, and remembers only whose
// contents it has.
func (s *Session) disown(in signIn) {
	s.manager.scs.Put(s, s.manager.opts.Key, signIn{user: in.user, expires: ended}.String())
}

// expire removes a session whose time is over. The application's own session
// may live on.
func (s *Session) expire(in signIn) {
	m := s.manager
	if s.foreign || !Ours(m.opts.Sessions) {
		if in.expires != ended {
			s.disown(in)
		}
		return
	}
	ctx, cancel := s.Detached(StoreTimeout)
	defer cancel()
	if err := m.scs.Destroy(ctx); err != nil {
		// It stays in the store until it expires there, and is not believed.
		s.anonymous()
		s.forget = true
	}
}
