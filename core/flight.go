package core

import (
	"context"
	"errors"
	"hash/maphash"
	"os"
	"sync"
	"time"

	"golang.org/x/oauth2"
)

// P1. One flight per grant in this process, keyed by the grant and never by a
// token's value, on a context that no request can end. Callers wait for it and
// may leave. x/sync/singleflight is not used: here callers come with different
// needs (a token that was rejected), are served before the flight has ended,
// and the flight may end when nobody waits.

// result is what a flight ended with. A waiter accepts the token whatever life
// is left in it.
type result struct {
	served  *served
	err     error
	verdict verdict // about the rejected token, if it is still the one: active or unavailable
}

func (r result) token() (*oauth2.Token, error) {
	if r.err != nil {
		return nil, r.err
	}
	return r.served.token, nil
}

type flight struct {
	r        *refresher
	k        *keeper
	ctx      context.Context
	rejected string // the access token that the API rejected, if that is why the flight began
	came     int64  // the gen that was cached when the flight began; 0: none

	// Guarded by k.mu.
	waiters int
	offered bool          // what is cached is served at once to whom it suits
	landed  bool          // result is there
	result  result        //
	news    chan struct{} // closed when one of these changes, and made anew

	// The protocol's own; see refresh.go.
	gr        grant // the record as last read or written
	version   string
	holding   bool // an intent of ours is out whose token was sent: the flight goes on though nobody waits
	taker     bool // this doubt began with the intent of another process
	replaying bool // the next POST is the one replay that a holder has on "inactive"
	asked     bool // the rejected token has been introspected: inactive
	conflicts int
	after     []func() // what is left to do when the waiters have been served
}

// refresher keeps the user tokens of one Auth alive.
type refresher struct {
	a *Auth
	times
	owner   string
	keepers keepers
	posts   slots // refreshes under way
	looks   slots // introspections under way
	oracle  calibration

	closing   chan struct{}
	closeOnce sync.Once
}

// slots bound how many calls are under way at Musixmatch.
type slots chan struct{}

const (
	maxPosts = 64
	maxLooks = 64
)

func (s slots) release() { <-s }

// now is the process's own clock: it begins at 0 and never steps.
func (r *refresher) now() time.Duration { return time.Since(r.keepers.start) }

// cached is P0: a token read within a lease with enough life left, or nil.
func (r *refresher) cached(sub string) *oauth2.Token {
	if k := r.keepers.find(sub); k != nil {
		if s := k.cached.Load(); s != nil && r.now() < s.fresh {
			return s.token
		}
	}
	return nil
}

// token returns the token of sub's grant. rejected, if not empty, is an access
// token that the API refused: another one is wanted, or the oracle's word that
// this one is active.
func (r *refresher) token(ctx context.Context, sub, rejected string) result {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, patience, errPatience)
		defer cancel()
	}
	for {
		k := r.keepers.locked(sub)
		if s := k.cached.Load(); s != nil && r.now() < s.fresh && s.token.AccessToken != rejected {
			k.mu.Unlock()
			return result{served: s}
		}
		f := k.flight
		if f == nil {
			if f = r.launch(k, rejected); f == nil {
				k.mu.Unlock()
				return result{err: unavailable(errClosed)}
			}
		}
		res := f.wait(ctx, rejected)
		if res.err == nil && res.served.token.AccessToken == rejected && (res.verdict == noVerdict || f.rejected != rejected) {
			continue // the flight was not about this token: now begin one that is
		}
		return res
	}
}

// close ends what only waits.
func (r *refresher) close() { r.closeOnce.Do(func() { close(r.closing) }) }

func newRefresher(a *Auth) *refresher {
	owner, _ := os.Hostname()
	return &refresher{
		a:       a,
		times:   timesFrom(a.cfg.RefreshTimeout),
		owner:   owner,
		keepers: keepers{seed: maphash.MakeSeed(), start: time.Now()},
		posts:   make(slots, maxPosts),
		looks:   make(slots, maxLooks),
		closing: make(chan struct{}),
	}
}

// launch begins a flight. k is locked. It returns nil when Auth is closed.
func (r *refresher) launch(k *keeper, rejected string) *flight {
	if !r.a.begin() {
		return nil
	}
	f := &flight{r: r, k: k, ctx: context.Background(), rejected: rejected, news: make(chan struct{})}
	if s := k.cached.Load(); s != nil {
		f.came = s.gen
	}
	k.flight = f
	go func() {
		defer r.a.work.Done()
		f.run()
	}()
	return f
}

var (
	errClosed   = errors.New("Auth is closed")
	errPatience = errors.New("no token in time")
)

func unavailable(cause error) error { return fail("token", ErrUnavailable, cause) }

// wait returns what the flight offers or ends with. k is locked, and unlocked
// by it.
func (f *flight) wait(ctx context.Context, rejected string) result {
	f.waiters++
	defer func() { f.waiters--; f.k.mu.Unlock() }()
	for {
		if f.landed {
			return f.result
		}
		if s := f.k.alive(f.r.now(), rejected); s != nil && f.offered {
			return result{served: s}
		}
		news := f.news
		f.k.mu.Unlock()
		var err error
		select {
		case <-news:
		case <-ctx.Done():
			if err = ctx.Err(); errors.Is(context.Cause(ctx), errPatience) {
				err = errPatience
			}
		}
		f.k.mu.Lock()
		if err == nil || f.landed {
			continue
		}
		if s := f.k.alive(f.r.now(), rejected); s != nil && errors.Is(err, errPatience) {
			return result{served: s} // it may be killed any moment, and may still do
		}
		return result{err: unavailable(err)}
	}
}

// alive returns the cached token if it has not expired and is not rejected.
func (k *keeper) alive(now time.Duration, rejected string) *served {
	if s := k.cached.Load(); s != nil && now < s.valid && s.token.AccessToken != rejected {
		return s
	}
	return nil
}

// offer lets callers have the cached token at once, for as long as it lives.
func (f *flight) offer() { f.change(func() { f.offered = true }) }

// withdraw makes callers wait: the token is about to be killed.
func (f *flight) withdraw() { f.change(func() { f.offered = false }) }

// land ends the flight for its waiters; the next caller begins another.
func (f *flight) land(res result) step {
	f.change(func() {
		f.landed, f.result = true, res
		f.k.flight = nil
		f.k.used.Store(int64(f.r.now()))
	})
	if memory, _ := f.k.recall(); memory == nil {
		f.r.keepers.drop(f.k)
	}
	return nil
}

func (f *flight) change(what func()) {
	f.k.mu.Lock()
	defer f.k.mu.Unlock()
	what()
	close(f.news)
	f.news = make(chan struct{})
}

func (f *flight) wanted() bool {
	f.k.mu.Lock()
	defer f.k.mu.Unlock()
	return f.waiters > 0
}

// pause waits. It returns false when Auth is closing: a flight that only waits
// ends then. One in doubt does, too: all that is known is in the store, and
// another instance resolves it.
func (f *flight) pause(d time.Duration) bool {
	t := time.NewTimer(max(0, d))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-f.r.closing:
		return false
	}
}
