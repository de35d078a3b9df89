package grant

import (
	"context"
	"errors"
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
	m        *Manager
	e        *entry
	ctx      context.Context
	rejected string // the access token that the API rejected, if that is why the flight began
	startGen int64  // the gen that was cached when the flight began; 0: none

	// Guarded by k.mu.
	waiters int
	offered bool          // what is cached is served at once to whom it suits
	landed  bool          // result is there
	result  result        //
	changed chan struct{} // closed when one of these changes, and made anew

	// The protocol's own; see refresh.go.
	gr         grant // the record as last read or written
	version    string
	sentIntent bool // an intent of ours is out whose token was sent: the flight goes on though nobody waits
	tookOver   bool // this doubt began with the intent of another process
	replaying  bool // the next POST is the one replay that a holder has on "inactive"
	asked      bool // the rejected token has been introspected: inactive
	conflicts  int
	dialing    *dialing
	after      []func() // what is left to do when the waiters have been served
}

// token returns the token of sub's grant. rejected, if not empty, is an access
// token that the API refused: another one is wanted, or the oracle's word that
// this one is active.
func (m *Manager) token(ctx context.Context, sub, rejected string) result {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, Patience, errPatience)
		defer cancel()
	}
	for {
		e := m.entries.locked(sub)
		if s := e.cached.Load(); s != nil && m.clock.Elapsed() < s.fresh && s.token.AccessToken != rejected {
			e.mu.Unlock()
			return result{served: s}
		}
		f := e.flight
		if f == nil {
			if f = m.launch(e, rejected); f == nil {
				e.mu.Unlock()
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

// launch begins a flight. k is locked. It returns nil when Auth is closed.
func (m *Manager) launch(e *entry, rejected string) *flight {
	if !m.begin() {
		return nil
	}
	f := &flight{m: m, e: e, ctx: context.Background(), rejected: rejected, changed: make(chan struct{})}
	if s := e.cached.Load(); s != nil {
		f.startGen = s.generation
	}
	e.flight = f
	go func() {
		defer m.work.Done()
		f.run()
	}()
	return f
}

var (
	errClosed   = errors.New("Auth is closed")
	errPatience = errors.New("no token in time")
)

// wait returns what the flight offers or ends with. k is locked, and unlocked
// by it.
func (f *flight) wait(ctx context.Context, rejected string) result {
	f.waiters++
	defer func() { f.waiters--; f.e.mu.Unlock() }()
	for {
		if f.landed {
			return f.result
		}
		if s := f.e.alive(f.m.clock.Elapsed(), rejected); s != nil && f.offered {
			return result{served: s}
		}
		changed := f.changed
		f.e.mu.Unlock()
		var err error
		select {
		case <-changed:
		case <-ctx.Done():
			if err = ctx.Err(); errors.Is(context.Cause(ctx), errPatience) {
				err = errPatience
			}
		}
		f.e.mu.Lock()
		if err == nil || f.landed {
			continue
		}
		if s := f.e.alive(f.m.clock.Elapsed(), rejected); s != nil && errors.Is(err, errPatience) {
			return result{served: s} // it may be killed any moment, and may still do
		}
		return result{err: unavailable(err)}
	}
}

// alive returns the cached token if it has not expired and is not rejected.
func (e *entry) alive(now time.Duration, rejected string) *served {
	if s := e.cached.Load(); s != nil && now < s.valid && s.token.AccessToken != rejected {
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
		f.e.flight = nil
		f.e.used.Store(int64(f.m.clock.Elapsed()))
	})
	if memory, _ := f.e.recall(); memory == nil {
		f.m.entries.drop(f.e)
	}
	return nil
}

func (f *flight) change(what func()) {
	f.e.mu.Lock()
	defer f.e.mu.Unlock()
	what()
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *flight) wanted() bool {
	f.e.mu.Lock()
	defer f.e.mu.Unlock()
	return f.waiters > 0
}

// pause waits. It returns false when Manager is closing: a flight that only
// waits ends then. One in doubt does, too: all that is known is in the store, and
// another instance resolves it.
func (f *flight) pause(d time.Duration) bool { return f.m.sleep(d) }
