package grant

import (
	"context"
	"errors"
	"time"

	"golang.org/x/oauth2"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
)

// A flight is P1: one refresh per grant in this process. It is keyed by the grant,
// never by a token's value, and no request can end its context. Callers wait for it
// and may leave. x/sync/singleflight does not fit: callers come with different
// needs (a token that was rejected), are served before the flight has ended, and
// the flight may end when nobody waits.

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
	startGen int64  // the generation that was cached when the flight began; 0: none
	errand   errand // of Maintain, if that is why the flight began

	// Guarded by e.mu.
	waiters    int
	called     bool          // a caller has come for the token
	lastWanted time.Duration // when somebody last waited
	offered    bool          // what is cached is served at once to whom it suits
	landed     bool          // result is there
	result     result        //
	changed    chan struct{} // closed when one of these changes, and made anew

	// The protocol's own; see find.go.
	gr         grant // the record as last read or written
	version    string
	sentIntent bool // an intent of ours is out whose token was sent: the flight goes on though nobody waits
	tookOver   bool // this doubt began with the intent of another process
	replaying  bool // the next POST is the one replay that a holder has on "inactive"
	asked      bool // the rejected token has been introspected: inactive
	conflicts  int
	outlived   bool // the tokens of a refresh had expired before they were stored
	inTheDark  int  // the first attempt about which nothing could be found out; 0: none
	dialing    *dialing
	slots      []semaphore // held at the moment
	after      []func()    // what is left to do when the waiters have been served
}

// token returns the token of sub's grant. rejected, if not empty, is an access
// token that the API refused: another one is wanted, or the word of
// token-metadata that this one is active.
//
// A caller waits for 10 seconds, or for half of what its deadline leaves, and then
// takes the old token while it lives. Without one it waits for its deadline.
func (m *Manager) token(ctx context.Context, sub, rejected string) result {
	patience := Patience
	if deadline, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(deadline)/2)
	}
	ctx, cancel := WithPatience(ctx)
	defer cancel()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		e := m.entries.locked(sub)
		if s := e.cached.Load(); s != nil && m.isFresh(s) && s.suits(m.clock, rejected) {
			e.mu.Unlock()
			return result{served: s}
		}
		f := e.flight
		if f == nil {
			if f = m.launch(e, rejected, errand{}); f == nil {
				e.mu.Unlock()
				return result{err: unavailable(errClosed)}
			}
		}
		f.called = true
		res := f.wait(ctx, timer.C, rejected)
		if res.err == nil && res.served.token.AccessToken == rejected && (res.verdict == noVerdict || f.rejected != rejected) {
			continue // the flight was not about this token: now begin one that is
		}
		if res.verdict != noVerdict && rejected == "" && m.clock.Since(res.served.at) >= res.served.valid {
			continue // it was about a 401, and the token has expired since
		}
		return res
	}
}

// launch begins a flight. e is locked. It returns nil when Manager is closed.
func (m *Manager) launch(e *entry, rejected string, er errand) *flight {
	if !m.begin() {
		return nil
	}
	f := &flight{m: m, e: e, ctx: context.Background(), rejected: rejected, errand: er, changed: make(chan struct{}), lastWanted: m.now()}
	if er.pace != nil {
		f.ctx = withPace(f.ctx, er.pace)
	}
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
	errClosed   = errors.New("this instance is shutting down")
	errPatience = errors.New("no token in time")
)

// wait returns what the flight offers or ends with. After patience a token that
// lives will do. e.mu is held, and unlocked by it.
func (f *flight) wait(ctx context.Context, patience <-chan time.Time, rejected string) result {
	f.waiters++
	defer func() {
		f.waiters--
		f.lastWanted = f.m.now()
		f.e.mu.Unlock()
	}()
	for patient := true; ; {
		if f.landed {
			return f.result
		}
		if s := f.e.alive(f.m.clock, rejected); s != nil && (f.offered || !patient) {
			return result{served: s} // without an offer it may be killed any moment, and may still do
		}
		if ctx.Err() != nil {
			return result{err: unavailable(context.Cause(ctx))}
		}
		changed := f.changed
		f.e.mu.Unlock()
		select {
		case <-changed:
		case <-patience:
			patient = false
		case <-ctx.Done():
			patient = patient && !errors.Is(context.Cause(ctx), errPatience)
		}
		f.e.mu.Lock()
	}
}

// alive returns the cached token if it has not expired and is not rejected.
func (e *entry) alive(clock musixmatch.Clock, rejected string) *served {
	if s := e.cached.Load(); s != nil && clock.Since(s.at) < s.valid && s.suits(clock, rejected) {
		return s
	}
	return nil
}

func (f *flight) alive() *served { return f.e.alive(f.m.clock, f.rejected) }

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

// unwanted is in how long the flight ends if nobody waits for it any more: three
// leases after the last caller. What is known stays in the process, and the next
// caller goes on.
func (f *flight) unwanted() time.Duration {
	f.e.mu.Lock()
	defer f.e.mu.Unlock()
	if f.waiters > 0 {
		return 3 * f.m.intentLease
	}
	return f.lastWanted + 3*f.m.intentLease - f.m.now()
}

// hold waits. It returns false when Manager is closing or when nobody wants the
// token any more: a flight that only waits or asks ends then. All that is known
// of a doubt is in the store and in this process.
func (f *flight) hold(d time.Duration) bool {
	for until := f.m.now() + d; ; {
		left, wanted := until-f.m.now(), f.unwanted()
		switch {
		case wanted <= 0:
			return false
		case !f.m.sleep(min(left, wanted)):
			return false
		case left <= wanted:
			return true
		}
	}
}
