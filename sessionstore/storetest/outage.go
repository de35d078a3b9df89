package storetest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
)

// Outage is what a store went through in [RunOutage].
type Outage struct {
	Acknowledged int64 // writes that returned nil
	Failed       int64 // calls that returned an error
}

// RunOutage keeps a store busy while breakIt runs, which may kill the engine and
// start it again, and until it answers once more. It fails the test when a write
// that was acknowledged is not there afterwards, when a compare-and-swap was
// answered wrongly, or when a session came back whose end was acknowledged.
// Errors are expected, and counted.
func RunOutage(t *testing.T, s Store, breakIt func()) Outage {
	t.Helper()
	l := &traffic{t: t, store: s}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { l.replaceGrant(stop) })
		wg.Go(func() { l.endSessions(stop) })
	}
	l.awaitWrites(200)
	breakIt()
	l.awaitWrites(200)
	close(stop)
	wg.Wait()
	return Outage{Acknowledged: l.acknowledged.Load(), Failed: l.failed.Load()}
}

type traffic struct {
	t                    *testing.T
	store                Store
	acknowledged, failed atomic.Int64
}

func (l *traffic) awaitWrites(n int64) {
	l.t.Helper()
	goal := l.acknowledged.Load() + n
	for deadline := time.Now().Add(time.Minute); l.acknowledged.Load() < goal; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			l.t.Error("the store does not come back")
			return
		}
	}
}

// call counts what came of a call, and reports whether it was acknowledged.
func (l *traffic) call(do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(l.t.Context(), 5*time.Second)
	defer cancel()
	err := do(ctx)
	switch {
	case err == nil:
		l.acknowledged.Add(1)
	case !errors.Is(err, core.ErrConflict):
		l.failed.Add(1)
	}
	return err
}

// replaceGrant replaces a grant of its own again and again. What it knows to be
// stored is one version, or one of several while it has had no answer.
func (l *traffic) replaceGrant(stop <-chan struct{}) {
	key, stored := unique(), ""
	pending := make(map[string]bool)
	for round := 0; ; round++ {
		select {
		case <-stop:
			return
		default:
		}
		version := unique()
		err := l.call(func(ctx context.Context) error {
			return l.store.CommitGrant(ctx, key, stored, core.Record{Data: []byte(version), Version: version})
		})
		if err == nil {
			stored = version
			clear(pending)
			if round%8 != 0 { // reading back now and then is enough
				continue
			}
		} else if !errors.Is(err, core.ErrConflict) {
			pending[version] = true
		}
		r, ok := l.read(key, stop)
		if !ok {
			return
		}
		if r.Version != stored && !pending[r.Version] || r.Version != string(r.Data) {
			l.t.Errorf("read version %q with data %q; acknowledged was %q", r.Version, r.Data, stored)
			return
		}
		if errors.Is(err, core.ErrConflict) && len(pending) == 0 {
			l.t.Error("ErrConflict, though nobody else writes this grant")
			return
		}
		stored = r.Version
	}
}

func (l *traffic) read(key string, stop <-chan struct{}) (core.Record, bool) {
	for {
		ctx, cancel := context.WithTimeout(l.t.Context(), 5*time.Second)
		r, _, err := l.store.FindGrant(ctx, key)
		cancel()
		if err == nil {
			return r, true
		}
		l.failed.Add(1)
		select {
		case <-stop:
			return core.Record{}, false
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// endSessions begins and ends sessions, and tries to bring back every one that
// was ended, at once and when all is over.
func (l *traffic) endSessions(stop <-chan struct{}) {
	var ended []string
	revive := func(token string) bool {
		end := time.Now().Add(time.Hour)
		if l.call(func(ctx context.Context) error { return l.store.CommitCtx(ctx, token, []byte("late"), end) }) != nil {
			return true
		}
		var found bool
		err := l.call(func(ctx context.Context) (err error) { _, found, err = l.store.FindCtx(ctx, token); return err })
		if err == nil && found {
			l.t.Error("a session came back after its end was acknowledged")
			return false
		}
		return true
	}
	for {
		select {
		case <-stop:
			for _, token := range ended {
				if !revive(token) {
					return
				}
			}
			return
		default:
		}
		token, end := unique(), time.Now().Add(time.Hour)
		if l.call(func(ctx context.Context) error { return l.store.CommitCtx(ctx, token, nil, end) }) != nil {
			continue
		}
		if l.call(func(ctx context.Context) error { return l.store.DeleteCtx(ctx, token) }) != nil {
			continue
		}
		ended = append(ended, token)
		if !revive(token) {
			return
		}
	}
}
