package core

import (
	"context"
	"time"
)

// touchEvery is how exactly the idle timeout is kept: a session lives at least
// for the timeout and at most this much longer.
func (a *Auth) touchEvery() time.Duration { return min(a.idleTimeout/10, time.Minute) }

// touch writes at once that the session is in use. It writes what is stored
// now, not what this request will have made of it, so that it undoes no
// change of another request; a store that cannot write is tried again at the next one.
func (s *session) touch(st stamp, now time.Time) {
	a := s.auth
	if s.foreign {
		s.noteUse() // and it is saved with the rest
		return
	}
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
	if _, _, err := a.sessions.Commit(ctx); err == nil {
		_, _ = s.fetch() // so that this request's own changes build upon it
	}
}

// noteUse notes in a session that is about to be written that it is in use. What
// this request has loaded says less than others may have noted since.
func (s *session) noteUse() {
	a := s.auth
	if st, ok := parseStamp(a.sessions.GetString(s, a.sessionKey)); ok && a.idleTimeout > 0 {
		st.seen = time.Now().UnixMilli()
		a.sessions.Put(s, a.sessionKey, st.String())
	}
}

// end removes a session that has outlived itself, or from the application's
// own, which may live on, our part.
func (s *session) end() {
	if s.foreign || !ours(s.auth.cfg.Sessions) {
		s.auth.sessions.Remove(s, s.auth.sessionKey)
		return
	}
	ctx, cancel := s.detached(sessionTimeout)
	defer cancel()
	if err := s.auth.sessions.Destroy(ctx); err != nil {
		// It stays in the store until it expires there, and is not believed.
		s.anonymous()
		s.forget = true
	}
}
