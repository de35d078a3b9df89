package grant

import (
	"context"
	"errors"
	"maps"
	"math"
	"sync"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/seal"
)

// Maintenance says what [Manager.Maintain] does; see core.Maintenance. Zero and
// negative times mean never.
type Maintenance struct {
	Every                    time.Duration
	KeepAlive                time.Duration
	ForgetLost, ForgetUnused time.Duration
	PerSecond                float64
	Swept                    func(context.Context, Sweep, error) // after each sweep
}

// Sweep is what one sweep has found and done; see core.Sweep.
type Sweep struct {
	Started                        time.Time
	Took                           time.Duration
	Live, Reconnect, Disconnected  int
	InDoubt, Unacknowledged        int
	Refreshed, Resealed, Forgotten int
	Failures                       int
	OldestRefresh                  time.Time
	OlderKeys, UnknownKeys         map[string]int
}

func (found Sweep) clone() Sweep {
	found.OlderKeys, found.UnknownKeys = maps.Clone(found.OlderKeys), maps.Clone(found.UnknownKeys)
	return found
}

// Maintain sweeps over the grants until ctx is done or Manager is closed. It
// returns an error if it cannot begin.
func (m *Manager) Maintain(ctx context.Context, o Maintenance) error {
	if m.records.lister == nil {
		return ErrCannotList
	}
	if !m.begin() {
		return errClosed
	}
	defer m.work.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.live, cancel)()
	c := &claimant{m: m, id: seal.RandomString()}
	for n := 1; ; n++ {
		wait, err := c.look(ctx, o.Every)
		switch {
		case err != nil:
			wait = m.backoff(n)
		case wait <= 0 && c.take(ctx):
			if m.sweep(ctx, c, o) == nil {
				n = 0
				continue
			}
			wait = claimLease
		case wait > 0:
			n = 0
		}
		wait += time.Duration(float64(min(wait, claimLease)) * jitter()) // not all at once
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil
		}
	}
}

// maxWorkers bounds how many grants a sweep asks the server about at once.
const maxWorkers = 64

// sweeper does one sweep, or the rest of one.
type sweeper struct {
	*Manager
	o       Maintenance
	pace    *pace
	workers semaphore
	mute    bool // OnStatus hangs: this sweep calls it no more

	mu    sync.Mutex
	found Sweep
}

// sweep goes over the store from the claim's cursor on. An error means that the
// sweep has not ended; then the claim is free, or another instance has it.
func (m *Manager) sweep(ctx context.Context, c *claimant, o Maintenance) error {
	held, lost := context.WithCancel(ctx)
	defer lost()
	s := &sweeper{
		Manager: m, o: o, found: c.claim.Sweep.clone(),
		pace:    &pace{apart: time.Duration(float64(time.Second) / o.PerSecond)},
		workers: make(semaphore, min(maxWorkers, int(math.Ceil(o.PerSecond)))),
	}
	cursor := c.claim.Cursor
	go c.hold(held, lost)
	err := s.pages(held, c, cursor)
	switch {
	case errors.Is(err, errClaimLost):
	case ctx.Err() != nil:
		c.release()
	case err != nil:
		c.release()
		o.Swept(ctx, s.found, err)
	default:
		o.Swept(ctx, s.found, nil)
	}
	return err
}

func (s *sweeper) pages(ctx context.Context, c *claimant, cursor string) error {
	for {
		var p page
		err := s.insist(ctx, func() (err error) {
			p, err = s.records.page(ctx, cursor)
			return err
		})
		if err != nil {
			return err
		}
		s.visitAll(ctx, p.keys)
		if err := ctx.Err(); err != nil {
			return err
		}
		cursor = p.next
		if len(p.keys) == 0 && cursor != "" {
			continue // nothing that a successor would do again
		}
		s.found.Took = time.Since(s.found.Started)
		soFar := s.found.clone()
		err = s.insist(ctx, func() error {
			return c.write(ctx, func(cl *claim) {
				cl.Cursor, cl.Sweep = cursor, soFar
				if cursor == "" {
					cl.Holder, cl.Done = "", true
				}
			})
		})
		if err != nil || cursor == "" {
			return err
		}
	}
}

// maxFailures is how often in a row the store may fail a sweep.
const maxFailures = 5

// insist does something with the store, and again if it fails.
func (s *sweeper) insist(ctx context.Context, do func() error) error {
	for n := 1; ; n++ {
		err := do()
		if err == nil || n == maxFailures || errors.Is(err, errClaimLost) {
			return err
		}
		select {
		case <-time.After(s.backoff(n)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
