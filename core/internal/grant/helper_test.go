package grant

import (
	"bytes"
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
	"github.com/mxmconnect/mxmconnect/core/internal/seal"
)

func testKey(b byte) []byte {
	key := bytes.Repeat([]byte{b}, 32)
	for i := range key {
		key[i] += byte(i)
	}
	return key
}

// memory is a store that loses nothing and forgets what has expired.
type memory struct {
	mu      sync.Mutex
	records map[string]Record
	fault   func(write func() error) error // what becomes of a write; nil: it is done
	slow    time.Duration                  // what a read takes
}

func newMemory() *memory { return &memory{records: map[string]Record{}} }

func (s *memory) FindGrant(_ context.Context, key string) (Record, bool, error) {
	time.Sleep(s.slow)
	s.mu.Lock()
	defer s.mu.Unlock()
	r, found := s.live(key)
	return r, found, nil
}

func (s *memory) CommitGrant(_ context.Context, key, old string, r Record) error {
	s.mu.Lock()
	fault := s.fault
	s.mu.Unlock()
	if fault != nil {
		return fault(func() error { return s.commit(key, old, r) })
	}
	return s.commit(key, old, r)
}

func (s *memory) setFault(fault func(write func() error) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

func (s *memory) commit(key, old string, r Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stored, _ := s.live(key); stored.Version != old {
		return ErrConflict
	}
	s.records[key] = r
	return nil
}

func (s *memory) live(key string) (Record, bool) {
	r, found := s.records[key]
	if found && !r.Expiry.IsZero() && !time.Now().Before(r.Expiry) {
		return Record{}, false
	}
	return r, found
}

// fakeServer answers as its functions say.
type fakeServer struct {
	connect    func(ctx context.Context, refresh string) error
	refresh    func(refresh string) musixmatch.Answer
	introspect func(access string) (musixmatch.Introspection, error)
	revoke     func(refresh string)
	ahead      atomic.Int64 // so far its clock is believed to be ahead of its Date
	unheard    atomic.Bool  // it has not said the time yet
	shut       atomic.Int32 // how often nothing was sent, because it was too late
}

func (s *fakeServer) Connect(ctx context.Context, refresh string) (Conn, error) {
	if s.connect != nil {
		if err := s.connect(ctx, refresh); err != nil {
			return nil, err
		}
	}
	return &fakeConn{s, refresh}, nil
}

func (s *fakeServer) Introspect(_ context.Context, access string) (musixmatch.Introspection, error) {
	return s.introspect(access)
}

func (s *fakeServer) Revoke(_ context.Context, refresh string) {
	if s.revoke != nil {
		s.revoke(refresh)
	}
}

func (s *fakeServer) Now() (time.Time, bool) {
	return time.Now().Add(time.Duration(s.ahead.Load())), !s.unheard.Load()
}

type fakeConn struct {
	s       *fakeServer
	refresh string
}

func (c *fakeConn) Send(may func() bool) <-chan musixmatch.Answer {
	answer := make(chan musixmatch.Answer, 1)
	if !may() {
		c.s.shut.Add(1)
		answer <- musixmatch.Answer{Err: &musixmatch.CallError{}}
		return answer
	}
	go func() { answer <- c.s.refresh(c.refresh) }()
	return answer
}

func (*fakeConn) Reset() {}
func (*fakeConn) Close() {}

// newTestManager returns a manager over s and a store of its own, and closes it
// when the test ends.
func newTestManager(t testing.TB, s *fakeServer) (*Manager, *memory) {
	t.Helper()
	store := newMemory()
	keys, err := seal.New([][]byte{testKey(1)})
	require.NoError(t, err)
	m := New(Options{
		Store: store, Server: s, Keys: keys, BaseURL: "https://connect.example", ClientID: "client",
		RefreshTimeout: 30 * time.Second, Clock: musixmatch.SystemClock(), Report: func(context.Context, Report) {},
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, m.Close(ctx))
	})
	return m, store
}
