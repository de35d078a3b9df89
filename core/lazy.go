package core

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"
)

// Most requests ask their session for one string, who is signed in. That is
// read from the encoded session. What scs makes of it, and keeps in the
// context under a key of its own, is made when something asks for it: that is
// most of what is left of a session's cost.
type lazyData struct {
	used bool // set before the request is served

	mu      sync.Mutex
	encoded []byte // nil is a new session
	data    any    // scs's, once it is made
}

func (l *lazyData) set(encoded []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.encoded, l.data = encoded, nil
}

// peek reads the session from the store, once, and returns our part of it.
func (s *session) peek() (string, error) {
	a := s.auth
	encoded, found, err := a.sessions.Store.(scs.CtxStore).FindCtx(s.request.Context(), storeKey(s.token))
	if err != nil {
		return "", err
	}
	if !found {
		s.lazy.set(nil)
		return "", nil
	}
	if encoded == nil {
		encoded = []byte{} // which does not decode
	}
	s.lazy.set(encoded)
	if text, ok := peekString(encoded, a.sessionKey); ok {
		return text, nil
	}
	if _, err := s.open(); err != nil {
		return "", err
	}
	return a.sessions.GetString(s, a.sessionKey), nil
}

// open returns scs's data of the session. It fails in peek, or never.
func (s *session) open() (any, error) {
	l := &s.lazy
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.data == nil {
		m, token := *s.auth.sessions, ""
		if l.encoded != nil {
			m.Store, token = &storeOfOne{encoded: l.encoded}, s.token
		}
		ctx, err := m.Load(context.Background(), token)
		if err != nil {
			return nil, err
		}
		l.data = ctx.Value(s.auth.contextKey)
	}
	return l.data, nil
}

// status is scs's, which a session that nothing has asked for cannot have changed.
func (s *session) status() scs.Status {
	s.lazy.mu.Lock()
	untouched := s.lazy.used && s.lazy.data == nil
	s.lazy.mu.Unlock()
	if untouched {
		return scs.Unmodified
	}
	return s.auth.sessions.Status(s)
}

// storeKey is what scs makes of a token with HashTokenInStore.
func storeKey(token string) string {
	var key [scsTokenLength]byte
	hash := sha256.Sum256([]byte(token))
	base64.RawURLEncoding.Encode(key[:], hash[:])
	return string(key[:])
}

// lazyKey returns the key under which m keeps a session in a context if we can
// read sessions as m does, or nil. It tries: another scs may do it otherwise.
func lazyKey(m *scs.SessionManager) any {
	field := contextKeyField(m)
	if _, ok := m.Store.(scs.CtxStore); !ok || !ours(m) || !field.IsValid() {
		return nil
	}
	key := field.Interface()
	var asked storeOfOne
	probe := *m
	probe.Store = &asked
	ctx, err := probe.Load(context.Background(), "token")
	if err != nil || asked.key != storeKey("token") || ctx.Value(key) == nil {
		return nil
	}
	return key
}

// storeOfOne has one session, and remembers the key that it was asked for.
type storeOfOne struct {
	encoded []byte
	key     string
}

func (s *storeOfOne) Find(key string) ([]byte, bool, error) {
	s.key = key
	return s.encoded, s.encoded != nil, nil
}

func (*storeOfOne) Commit(string, []byte, time.Time) error { return nil }
func (*storeOfOne) Delete(string) error                    { return nil }
