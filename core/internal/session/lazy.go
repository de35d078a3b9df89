package session

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"
)

// lazyData is an encoded session. Most requests ask it for one string: who is
// signed in. That is read without decoding the rest. scs decodes the session,
// and keeps it in the context under a key of its own, when something asks for
// it. Decoding is most of what a session costs.
type lazyData struct {
	used bool   // set before the request is served
	key  string // where the store keeps the session

	mu      sync.Mutex
	encoded []byte // nil is a new session
	data    any    // scs's, once the session is decoded
}

func (l *lazyData) set(encoded []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.encoded, l.data = encoded, nil
}

// peek reads the session from the store, once, and returns our part of it.
func (s *Session) peek() (string, error) {
	m := s.manager
	s.lazy.key = storeKey(s.token)
	encoded, found, err := m.scs.Store.(scs.CtxStore).FindCtx(s.request.Context(), s.lazy.key)
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
	if text, ok := peekString(encoded, m.opts.Key); ok {
		return text, nil
	}
	if _, err := s.open(); err != nil {
		return "", err
	}
	return m.scs.GetString(s, m.opts.Key), nil
}

// open returns scs's data of the session. If it does not fail in peek, it never fails.
func (s *Session) open() (any, error) {
	l := &s.lazy
	l.mu.Lock()
	encoded, data := l.encoded, l.data
	l.mu.Unlock()
	if data != nil {
		return data, nil
	}
	reader, token := *s.manager.scs, ""
	if encoded != nil {
		reader.Store, token = &storeOfOne{encoded: encoded}, s.token
	}
	ctx, err := reader.Load(context.Background(), token)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.data == nil { // or else another goroutine was faster
		l.data = ctx.Value(s.manager.contextKey)
	}
	return l.data, nil
}

// status returns what became of the session. If nothing has asked for it, it
// has not changed.
func (s *Session) status() scs.Status {
	s.lazy.mu.Lock()
	untouched := s.lazy.used && s.lazy.data == nil
	s.lazy.mu.Unlock()
	if untouched {
		return scs.Unmodified
	}
	return s.manager.scs.Status(s)
}

// storeKey is the key under which scs stores a token with HashTokenInStore.
func storeKey(token string) string {
	var key [tokenLength]byte
	hash := sha256.Sum256([]byte(token))
	base64.RawURLEncoding.Encode(key[:], hash[:])
	return string(key[:])
}

// lazyKey returns the key under which m keeps a session in a context, or nil if
// this package cannot read sessions as m does. It tries one, because another
// version of scs may read them in another way.
func lazyKey(m *scs.SessionManager) any {
	field := contextKeyField(m)
	if _, ok := m.Store.(scs.CtxStore); !ok || !Ours(m) || !field.IsValid() {
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

// storeOfOne holds one session and remembers the key that it was asked for.
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
