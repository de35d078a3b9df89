package grant

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
	"github.com/mxmconnect/mxmconnect/core/internal/seal"
)

const (
	user  = "mxm:1"
	life  = time.Hour        // of an access token
	lease = 45 * time.Second // of an intent
)

// issuer is an authorization server that rotates: of the pairs a1 and r1, a2 and
// r2 and so on one is alive.
type issuer struct {
	post func(n int, rotate func() musixmatch.Answer) musixmatch.Answer // what the n-th POST comes to; nil: a rotation
	look func(access string, alive bool) (bool, error)                  // what token-metadata says; nil: the truth

	mu      sync.Mutex
	pair    int
	posts   []string
	asked   []string
	revoked []string
}

// lost is an answer that does not arrive.
var lost = musixmatch.Answer{Err: &musixmatch.CallError{What: "the token endpoint", Sent: true}}

func (s *issuer) tokens() *musixmatch.Tokens {
	return &musixmatch.Tokens{
		Access: fmt.Sprint("a", s.pair), Refresh: fmt.Sprint("r", s.pair), Scope: "read",
		ExpiresIn: life, ExpiryKnown: true, Issued: time.Now(), Date: time.Now(), Status: 200, Complete: true,
	}
}

func (s *issuer) rotate(refresh string) musixmatch.Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if refresh != fmt.Sprint("r", s.pair) {
		return musixmatch.Answer{Err: &musixmatch.CallError{What: "the token endpoint", Sent: true, Status: 400, Code: "invalid_grant"}}
	}
	s.pair++
	return musixmatch.Answer{Tokens: s.tokens()}
}

func (s *issuer) server() *fakeServer {
	var fake *fakeServer
	fake = &fakeServer{
		refresh: func(refresh string) musixmatch.Answer {
			s.mu.Lock()
			s.posts = append(s.posts, refresh)
			n := len(s.posts)
			s.mu.Unlock()
			rotate := func() musixmatch.Answer {
				fake.ahead.Store(0)
				return s.rotate(refresh)
			}
			if s.post == nil {
				return rotate()
			}
			return s.post(n, rotate)
		},
		introspect: func(access string) (musixmatch.Introspection, error) {
			s.mu.Lock()
			s.asked = append(s.asked, access)
			alive := access == fmt.Sprint("a", s.pair)
			s.mu.Unlock()
			var err error
			if s.look != nil {
				alive, err = s.look(access, alive)
			}
			return musixmatch.Introspection{Active: alive, Sub: user, Date: time.Now(), Dated: true}, err
		},
		revoke: func(refresh string) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.revoked = append(s.revoked, refresh)
		},
	}
	return fake
}

// bench is one instance with its issuer and its store.
type bench struct {
	*issuer
	t      *testing.T
	ctx    context.Context // of a caller who has time
	fake   *fakeServer
	m      *Manager
	store  *memory
	ahead  atomic.Int64 // of the wall clock, after the machine was suspended
	writes []string     // what was written, as status and attempt
	events []string     // reports, as kind and reason
}

// onBench runs a test on virtual time, with a user who has just signed in.
func onBench(t *testing.T, test func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 24*time.Hour)
		defer cancel()
		b := &bench{issuer: &issuer{pair: 1}, t: t, ctx: ctx, store: newMemory()}
		b.fake = b.server()
		b.m = b.instance()
		require.NoError(t, b.m.Put(t.Context(), user, b.tokens()))
		b.store.setFault(func(write func() error) error { return b.noted(write) })
		test(b)
	})
}

// noted writes, and takes note of it.
func (b *bench) noted(write func() error) error {
	err := write()
	if err == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		gr := b.stored()
		text := string(gr.Status)
		if gr.Intent != nil {
			text += fmt.Sprint(" ", gr.Intent.Attempt)
		}
		b.writes = append(b.writes, text)
	}
	return err
}

// instance returns another instance over the same store.
func (b *bench) instance() *Manager {
	keys, err := seal.New([][]byte{testKey(1)})
	require.NoError(b.t, err)
	start := time.Now()
	m := New(Options{
		Store: b.store, Server: b.fake, Keys: keys, BaseURL: "https://connect.example", ClientID: "client", RefreshTimeout: 30 * time.Second,
		Clock: musixmatch.NewClock(func() musixmatch.Moment {
			return musixmatch.Moment{Wall: time.Now().Add(time.Duration(b.ahead.Load())).UnixNano(), Elapsed: time.Since(start)}
		}),
		Report: func(_ context.Context, r Report) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.events = append(b.events, fmt.Sprint([]string{"refreshed", "failed", "lost", "repaired", "uncalibrated"}[r.Kind], " ", r.Reason))
		},
	})
	b.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		require.NoError(b.t, m.Close(ctx))
	})
	return m
}

func (b *bench) stored() grant {
	b.t.Helper()
	gr, _, _, err := b.m.records.find(context.Background(), user)
	require.NoError(b.t, err)
	return gr
}

// list returns one of the lists of what has happened.
func (b *bench) list(of *[]string) []string {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(*of)
}

// put changes what is stored, behind the back of everybody.
func (b *bench) put(change func(gr *grant)) {
	b.t.Helper()
	gr, version, _, err := b.m.records.find(context.Background(), user)
	require.NoError(b.t, err)
	change(&gr)
	fault := b.store.fault
	b.store.setFault(nil)
	_, err = b.m.records.commit(context.Background(), version, gr)
	b.store.setFault(fault)
	require.NoError(b.t, err)
}

// foreign puts the intent of another instance there.
func (b *bench) foreign() {
	b.put(func(gr *grant) { gr.Intent = &intent{ID: "foreign", Attempt: 1, Lease: lease, Owner: "another"} })
}

// token is what a caller gets who has time.
func (b *bench) token() string {
	b.t.Helper()
	t, err := b.m.Token(b.ctx, user)
	require.NoError(b.t, err)
	return t.AccessToken
}

// replaced is what a caller gets whose token the API has refused.
func (b *bench) replaced(rejected string) string {
	b.t.Helper()
	t, err := b.m.Replace(b.ctx, user, rejected)
	require.NoError(b.t, err)
	require.NotNil(b.t, t)
	return t.AccessToken
}

func (b *bench) requireLost(reason string) {
	b.t.Helper()
	_, err := b.m.Token(b.ctx, user)
	require.Equal(b.t, Reconnect, outcomeOf(err))
	require.Equal(b.t, reason, b.stored().Reason)
	losses := slices.DeleteFunc(b.list(&b.events), func(e string) bool { return !strings.HasPrefix(e, "lost") })
	require.Equal(b.t, []string{"lost " + reason}, losses)
}

// due makes a1 seem to have ended an hour early, so that it is refreshed while
// token-metadata can still tell whether it was.
func (b *bench) due() {
	b.fake.ahead.Store(int64(life))
	time.Sleep(lease)
}
