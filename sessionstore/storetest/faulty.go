package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
)

// ErrFault is the cause of every error that a [Faulty] makes up.
var ErrFault = errors.New("storetest: fault injected")

// Op is a method of a store; with or without a context is the same.
type Op string

// The methods of a [Store].
const (
	Find        Op = "Find"
	Commit      Op = "Commit"
	Delete      Op = "Delete"
	FindGrant   Op = "FindGrant"
	CommitGrant Op = "CommitGrant"
	DeleteGrant Op = "DeleteGrant"
	ListGrants  Op = "ListGrants" // of a [Lister]
)

func (o Op) writes() bool { return o != Find && o != FindGrant && o != ListGrants }

// Fault is a way for a call to go wrong.
type Fault int

// The faults.
const (
	Down      Fault = iota + 1 // the call fails and does nothing
	ReadOnly                   // as Down, for writes; reads work
	FailAfter                  // the call does its work, and then fails: the caller cannot know
	LoseWrite                  // a write that succeeds, and that nobody will ever see
)

// Faulty is a store in front of another one that goes wrong on demand. It is
// safe for concurrent use and works in a bubble of testing/synctest.
type Faulty struct {
	store Store

	mu     sync.Mutex
	rules  []rule
	delays map[Op]time.Duration
	calls  map[Op]int
}

type rule struct {
	fault Fault
	ops   []Op
	left  int // calls; negative: until Heal
}

var (
	_ Store  = (*Faulty)(nil)
	_ Lister = (*Faulty)(nil)
)

// NewFaulty returns a Faulty that passes every call on to s.
func NewFaulty(s Store) *Faulty {
	return &Faulty{store: s, delays: make(map[Op]time.Duration), calls: make(map[Op]int)}
}

// Inject makes the calls of these methods, or of all if none is named, go wrong
// until Heal. The fault that was injected last wins.
func (f *Faulty) Inject(fault Fault, ops ...Op) { f.add(rule{fault, ops, -1}) }

// InjectNext is Inject for the next n calls only.
func (f *Faulty) InjectNext(n int, fault Fault, ops ...Op) { f.add(rule{fault, ops, n}) }

// Delay makes the calls of these methods, or of all if none is named, wait for d
// or their context before they do anything else. Zero takes the delay away.
func (f *Faulty) Delay(d time.Duration, ops ...Op) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(ops) == 0 {
		ops = []Op{Find, Commit, Delete, FindGrant, CommitGrant, DeleteGrant, ListGrants}
	}
	for _, op := range ops {
		f.delays[op] = d
	}
}

// Heal ends all faults and delays.
func (f *Faulty) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = nil
	clear(f.delays)
}

// Calls returns how often a method was called, whatever came of it.
func (f *Faulty) Calls(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[op]
}

func (f *Faulty) add(r rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, r)
}

// next says what happens to one call, and how long it waits first.
func (f *Faulty) next(op Op) (Fault, time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[op]++
	for i := range slices.Backward(f.rules) {
		switch r := &f.rules[i]; {
		case len(r.ops) > 0 && !slices.Contains(r.ops, op):
		case (r.fault == ReadOnly || r.fault == LoseWrite) && !op.writes():
		case r.left == 0:
		default:
			r.left = max(r.left-1, -1)
			return r.fault, f.delays[op]
		}
	}
	return 0, f.delays[op]
}

// do is one call. lost is what a write does instead of its work when it is lost.
func (f *Faulty) do(ctx context.Context, op Op, work, lost func() error) error {
	fault, delay := f.next(op)
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	switch fault {
	case Down, ReadOnly:
		return fmt.Errorf("%w before %s", ErrFault, op)
	case LoseWrite:
		return lost()
	case FailAfter:
		if err := work(); err != nil {
			return err
		}
		return fmt.Errorf("%w after %s", ErrFault, op)
	}
	return work()
}

// FindCtx implements scs.CtxStore.
func (f *Faulty) FindCtx(ctx context.Context, token string) (b []byte, found bool, err error) {
	err = f.do(ctx, Find, func() error { b, found, err = f.store.FindCtx(ctx, token); return err }, nil)
	if err != nil {
		return nil, false, err
	}
	return b, found, nil
}

// CommitCtx implements scs.CtxStore.
func (f *Faulty) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	return f.do(ctx, Commit, func() error { return f.store.CommitCtx(ctx, token, b, expiry) }, ctx.Err)
}

// DeleteCtx implements scs.CtxStore.
func (f *Faulty) DeleteCtx(ctx context.Context, token string) error {
	return f.do(ctx, Delete, func() error { return f.store.DeleteCtx(ctx, token) }, ctx.Err)
}

// KeepsDeleted reports whether the store behind it says so.
func (f *Faulty) KeepsDeleted() bool { return keepsDeleted(f.store) }

// Find is FindCtx without a context.
func (f *Faulty) Find(token string) ([]byte, bool, error) {
	return f.FindCtx(context.Background(), token)
}

// Commit is CommitCtx without a context.
func (f *Faulty) Commit(token string, b []byte, expiry time.Time) error {
	return f.CommitCtx(context.Background(), token, b, expiry)
}

// Delete is DeleteCtx without a context.
func (f *Faulty) Delete(token string) error {
	return f.DeleteCtx(context.Background(), token)
}

// FindGrant implements core.GrantStore.
func (f *Faulty) FindGrant(ctx context.Context, key string) (r core.Record, found bool, err error) {
	err = f.do(ctx, FindGrant, func() error { r, found, err = f.store.FindGrant(ctx, key); return err }, nil)
	if err != nil {
		return core.Record{}, false, err
	}
	return r, found, nil
}

// CommitGrant implements core.GrantStore. A lost one still compares versions.
func (f *Faulty) CommitGrant(ctx context.Context, key, old string, r core.Record) error {
	lost := func() error {
		switch stored, _, err := f.store.FindGrant(ctx, key); {
		case err != nil:
			return err
		case stored.Version != old:
			return core.ErrConflict
		}
		return nil
	}
	return f.do(ctx, CommitGrant, func() error { return f.store.CommitGrant(ctx, key, old, r) }, lost)
}

// DeleteGrant implements core.GrantStore.
func (f *Faulty) DeleteGrant(ctx context.Context, key string) error {
	return f.do(ctx, DeleteGrant, func() error { return f.store.DeleteGrant(ctx, key) }, ctx.Err)
}

// ListGrants implements core.GrantLister. If the store behind does not, it fails.
func (f *Faulty) ListGrants(ctx context.Context, cursor string, limit int) (keys []string, next string, err error) {
	lister, ok := f.store.(core.GrantLister)
	if !ok {
		return nil, "", errors.ErrUnsupported
	}
	err = f.do(ctx, ListGrants, func() error { keys, next, err = lister.ListGrants(ctx, cursor, limit); return err }, nil)
	if err != nil {
		return nil, "", err
	}
	return keys, next, nil
}
