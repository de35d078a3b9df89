package session

import (
	"context"
	"time"

	"github.com/alexedwards/scs/v2"
)

// List knows with which sessions a user is signed in. A sign-in counts only
// under the key that it is listed with.
type List interface {
	// Enter is called before a sign-in is committed. It returns the epoch in
	// which the sign-in begins.
	Enter(ctx context.Context, e Entry) (epoch int64, err error)
	// Renew is called before a session is committed under another key. It
	// reports false if the session has been ended under the old one.
	Renew(ctx context.Context, user, old, key string) (ok bool, err error)
	// Leave is called after a session has been ended.
	Leave(ctx context.Context, user, key string) error
	// Ended reports whether all sessions of user have been ended since epoch.
	Ended(ctx context.Context, user string, epoch int64) (bool, error)
}

// Entry is a sign-in. Key is where its session is kept in the session store.
type Entry struct {
	User, Key, UserAgent string
	Until                time.Time
}

// storeKey returns the key under which scs keeps a session.
func (m *Manager) storeKey(token string) string {
	if m.scs.HashTokenInStore {
		return storeKey(token)
	}
	return token
}

// isListed reports whether a sign-in is listed under the key that the session
// was loaded from.
func (s *Session) isListed(in signIn) bool {
	m := s.manager
	switch {
	case m.opts.List == nil:
		return true
	case s.lazy.used:
		return in.listed == s.lazy.key
	}
	return in.listed == m.storeKey(m.scs.Token(s))
}

// enlist lists the session under its key, if it is not yet. Call it before the
// session is committed. If it reports false, nobody is signed in any more. If it
// fails, the sign-in does not count where this session is saved all the same,
// until somebody lists it; one of this request never does.
func (s *Session) enlist() (ok bool, err error) {
	m := s.manager
	if m.opts.List == nil {
		return true, nil
	}
	in, ok := parseSignIn(m.scs.GetString(s, m.opts.Key))
	key := m.storeKey(m.scs.Token(s))
	if !ok || in.expires == ended || in.listed == key {
		return true, nil
	}
	ctx, cancel := s.Detached(StoreTimeout)
	defer cancel()
	replaced := s.fresh.Load()
	if replaced != nil && in.listed == "" {
		in.epoch, err = m.opts.List.Enter(ctx, Entry{
			User: in.user, Key: key, UserAgent: s.request.UserAgent(), Until: time.Unix(in.expires, 0),
		})
		ok = err == nil
	} else if ok, err = m.opts.List.Renew(ctx, in.user, in.listed, key); err != nil {
		return false, err
	}
	if !ok {
		s.disown(in) // whoever saves the session
		return false, err
	}
	in.listed = key
	m.scs.Put(s, m.opts.Key, in.String())
	if replaced != nil {
		s.leave(ctx, *replaced)
	}
	return true, nil
}

// drop leaves a session that has ended meanwhile unsaved. The browser's cookie
// stays: another tab may have renewed it.
func (s *Session) drop() error {
	ctx, cancel := s.Detached(StoreTimeout)
	defer cancel()
	return s.manager.scs.Destroy(ctx)
}

// leave takes a session that was ended off the list. If that fails, it stays
// there until its time is over, and does no harm.
func (s *Session) leave(ctx context.Context, in signIn) {
	if list := s.manager.opts.List; list != nil && in.listed != "" {
		_ = list.Leave(ctx, in.user, in.listed)
	}
}

// ended reports whether the user's sessions have been ended, and this one was
// not among them: the session store and the list can lose different writes.
func (s *Session) ended(in signIn) bool {
	list := s.manager.opts.List
	if list == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.request.Context()), StoreTimeout)
	defer cancel()
	ended, err := list.Ended(ctx, in.user, in.epoch)
	return err == nil && ended
}

// ListedAs returns the key that the session is listed with, or "".
func (s *Session) ListedAs() string {
	if s.manager.connects() {
		return ""
	}
	in, _ := parseSignIn(s.manager.scs.GetString(s, s.manager.opts.Key))
	return in.listed
}

// End ends the session at key, whether it has been committed or not. Deleting
// one that is not there would leave no tombstone, so it is committed first.
func (m *Manager) End(ctx context.Context, key string, until time.Time) error {
	store := m.scs.Store.(scs.CtxStore)
	empty, err := m.scs.Codec.Encode(until, map[string]any{})
	if err != nil {
		return err
	}
	if err := store.CommitCtx(ctx, key, empty, until); err != nil {
		return err
	}
	return store.DeleteCtx(ctx, key)
}

// Holds reports whether user is signed in with the session at key.
func (m *Manager) Holds(ctx context.Context, key, user string) (bool, error) {
	b, found, err := m.scs.Store.(scs.CtxStore).FindCtx(ctx, key)
	if err != nil || !found {
		return false, err
	}
	_, values, err := m.scs.Codec.Decode(b)
	if err != nil {
		return false, nil
	}
	text, _ := values[m.opts.Key].(string)
	in, ok := parseSignIn(text)
	return ok && in.user == user && in.listed == key && time.Now().Unix() < in.expires, nil
}
