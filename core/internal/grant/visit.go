package grant

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/seal"
)

// quiet is for how long a record must not have changed before it is sealed anew:
// whoever changed it may still look whether it did.
const quiet = time.Hour

// visitAll visits the records of one page. What asks the server does so beside.
func (s *sweeper) visitAll(ctx context.Context, keys []string) {
	var beside sync.WaitGroup
	defer beside.Wait()
	for _, key := range keys {
		if ctx.Err() != nil {
			return
		}
		work, err := s.visit(ctx, key)
		if err != nil {
			s.count(func(found *Sweep) { found.Failures++ })
		}
		if work == nil {
			continue
		}
		select {
		case s.workers <- struct{}{}:
		case <-ctx.Done():
			return
		}
		beside.Go(func() {
			defer s.workers.release()
			if err := work(); err != nil && outcomeOf(err) != Reconnect && ctx.Err() == nil {
				s.count(func(found *Sweep) { found.Failures++ })
			}
		})
	}
}

func (s *sweeper) count(what func(found *Sweep)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	what(&s.found)
}

// visit counts the record at key and does what is to be done about it. It returns
// the part that asks the server, or nil.
func (s *sweeper) visit(ctx context.Context, key string) (work func() error, err error) {
	read, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	rec, found, err := s.records.load(read, key)
	if err != nil || !found {
		return nil, err
	}
	id, place := s.records.keys.KeyOf(rec.Data)
	gr, err := s.records.openAny(key, rec)
	switch {
	case errors.Is(err, errElsewhere):
		return nil, nil
	case err != nil:
		if place < 0 {
			s.count(func(found *Sweep) { add(&found.UnknownKeys, id) })
		}
		return nil, err
	}
	s.count(func(found *Sweep) {
		found.add(gr)
		if place > 0 {
			add(&found.OlderKeys, id)
		}
	})
	s.tell(ctx, gr)
	switch {
	case isImport(gr.Sub):
	case gr.Status == statusReconnect:
		if age := time.Since(gr.Since); s.o.ForgetLost > 0 && age >= s.o.ForgetLost {
			return func() error { return s.forget(ctx, gr, rec.Version) }, nil
		} else if age >= markTokens && gr.Access+gr.Refresh != "" {
			return nil, s.replaceIfSame(ctx, rec.Version, gr)
		}
	case gr.Status == statusLive:
		if work := s.keep(ctx, gr, rec.Version); work != nil {
			return work, nil
		}
	}
	if place > 0 {
		return nil, s.reseal(ctx, key, rec, gr)
	}
	return nil, nil
}

// add counts gr.
func (found *Sweep) add(gr grant) {
	switch {
	case isImport(gr.Sub):
		return
	case gr.Status == statusLive:
		found.Live++
		if found.OldestRefresh.IsZero() || gr.Issued.Before(found.OldestRefresh) {
			found.OldestRefresh = gr.Issued
		}
	case gr.Status == statusReconnect:
		found.Reconnect++
	default:
		found.Disconnected++
	}
	if gr.Intent != nil {
		found.InDoubt++
	}
	if gr.untold() {
		found.Unacknowledged++
	}
}

func add(counts *map[string]int, id string) {
	if *counts == nil {
		*counts = map[string]int{}
	}
	(*counts)[id]++
}

// keep returns what the server has to be asked about a grant that is alive, or nil.
func (s *sweeper) keep(ctx context.Context, gr grant, version string) func() error {
	now, _ := s.server.Now()
	lastUse := gr.Connected
	if gr.Used.After(lastUse) {
		lastUse = gr.Used
	}
	switch {
	case gr.Intent != nil:
		return s.unlessPaused(func() error {
			return s.onErrand(ctx, gr, errand{pace: s.pace, doubt: gr.Intent.ID})
		})
	case s.o.ForgetUnused > 0 && now.Sub(lastUse) >= s.o.ForgetUnused:
		return s.unlessPaused(func() error { return s.forget(ctx, gr, version) })
	case s.isDue(gr, s.o.KeepAlive):
		return s.unlessPaused(func() error {
			err := s.onErrand(ctx, gr, errand{pace: s.pace, due: gr.Generation})
			if err == nil {
				s.count(func(found *Sweep) { found.Refreshed++ })
			}
			return err
		})
	}
	return nil
}

// unlessPaused leaves for the next sweep what the server does not want to be
// asked now.
func (s *sweeper) unlessPaused(work func() error) func() error {
	return func() error {
		if s.Paused() > 0 {
			return ErrPaused
		}
		return work()
	}
}

// tell lets the application hear what it has not acknowledged.
func (s *sweeper) tell(ctx context.Context, gr grant) {
	if s.onStatus == nil || s.mute || !gr.untold() || time.Since(gr.Since) < s.tellAfter()+callTimeout {
		return // whoever changed it tells it
	}
	patience := time.NewTimer(2 * callTimeout)
	defer patience.Stop()
	select {
	case s.deliveries.waiting <- struct{}{}:
		go s.deliver(gr.Sub)
	case <-patience.C:
		s.mute = true
	case <-ctx.Done():
	}
}

// reseal seals the record with the first key, and changes nothing. A refresh that
// is announced, and who has just written, are left alone.
func (s *sweeper) reseal(ctx context.Context, key string, rec Record, gr grant) error {
	for _, changed := range []time.Time{gr.Issued, gr.Connected, gr.Since} {
		if gr.Intent != nil || time.Since(changed) < quiet {
			return nil
		}
	}
	plain, err := s.records.keys.Open(grantPurpose, key, rec.Data)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	sealed := Record{Data: s.records.keys.Seal(grantPurpose, key, plain), Version: seal.RandomString(), Expiry: rec.Expiry}
	err = s.records.save(ctx, key, rec.Version, sealed)
	switch {
	case errors.Is(err, ErrConflict):
		return nil
	case err == nil:
		s.count(func(found *Sweep) { found.Resealed++ })
	}
	return err
}

// replaceIfSame writes gr if its record is still of that version.
func (s *sweeper) replaceIfSame(ctx context.Context, version string, gr grant) error {
	if err := s.commitSurely(ctx, version, gr); !errors.Is(err, ErrConflict) {
		return err
	}
	return nil
}

// forget ends gr as a disconnect does, unless its record has changed: the user may
// have signed in.
func (s *sweeper) forget(ctx context.Context, gr grant, version string) error {
	ctx = withPace(ctx, s.pace)
	tombstone := s.tombstone(ctx, gr, s.remembered(gr.Sub))
	switch err := s.commitSurely(ctx, version, tombstone); {
	case errors.Is(err, ErrConflict):
		return nil
	case err != nil:
		return err
	}
	s.learn(tombstone, "")
	s.count(func(found *Sweep) { found.Forgotten++ })
	if gr.Status == statusLive && keepPace(ctx) == nil {
		s.server.Revoke(ctx, gr.Refresh)
	}
	return nil
}
