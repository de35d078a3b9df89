package grant

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
)

// A refresh kills the old access token. If that token is active, the refresh did
// not take place; if it is inactive before its natural end, the refresh did.

// verdict is what one probe of the old access token says.
type verdict int

const (
	noVerdict verdict = iota
	noAnswer          // no answer
	blind             // an answer could prove nothing
	active
	inactive
)

// probe introspects the grant's access token, unless the answer could prove
// nothing. Natural expiry is judged on the server's clock, by the earliest time at
// which the token can have been issued, against the Date of this answer; or by the
// token's whole life having passed here since seen, when this process first saw it.
func (m *Manager) probe(ctx context.Context, gr grant, seen time.Duration) verdict {
	return m.probeBy(m.introspect, ctx, gr, seen)
}

// probeNow is probe by introspectNow.
func (m *Manager) probeNow(ctx context.Context, gr grant, seen time.Duration) verdict {
	return m.probeBy(m.introspectNow, ctx, gr, seen)
}

func (m *Manager) probeBy(introspect func(context.Context, string) (musixmatch.Introspection, error), ctx context.Context, gr grant, seen time.Duration) verdict {
	switch {
	case gr.Access == "", !gr.ExpiryKnown, gr.NotRotated, m.calibration.off():
		return blind
	case m.now()-seen >= gr.ExpiresIn:
		return blind
	}
	in, err := introspect(ctx, gr.Access)
	switch {
	case err != nil:
		return noAnswer
	case !in.Dated || !in.Date.Before(gr.Issued.Add(gr.ExpiresIn)):
		return blind
	case in.Active:
		return active
	}
	return inactive
}

// newborn reports whether "inactive" may only mean that token-metadata does not
// know the token yet. It does know one that it has called active, here and before;
// and one that has expired by the server's clock is no newborn.
func (m *Manager) newborn(e *entry, gr grant, in musixmatch.Introspection) bool {
	if e.active.Load() == gr.Generation || m.now()-e.watch.seen >= e.born(m.confirmWait) {
		return false
	}
	now := in.Date
	if !in.Dated {
		now, _ = m.server.Now()
	}
	// A process that lives for a moment, such as a job, would never get to know a
	// token. Issued is too early by what an answer may take at the most.
	age := now.Sub(gr.Issued) - 3*m.refreshTimeout
	old := in.Dated && gr.ExpiryKnown && age >= 8*m.confirmWait
	return !old && now.Before(gr.Issued.Add(gr.ExpiresIn))
}

// introspect asks token-metadata. It ends when Manager closes: what only asks
// is not waited for.
func (m *Manager) introspect(ctx context.Context, access string) (musixmatch.Introspection, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.live, cancel)()
	if err := keepPace(ctx); err != nil {
		return musixmatch.Introspection{}, err
	}
	if m.Paused() > 0 {
		return musixmatch.Introspection{}, ErrPaused
	}
	select {
	case m.probeSem <- struct{}{}:
		defer m.probeSem.release()
	case <-ctx.Done():
		return musixmatch.Introspection{}, ctx.Err()
	}
	return m.introspectNow(ctx, access)
}

// introspectNow asks for a flight that holds tokens which exist nowhere else, or
// waits for them. It queues behind nobody, and Close does not end it.
func (m *Manager) introspectNow(ctx context.Context, access string) (musixmatch.Introspection, error) {
	in, err := m.server.Introspect(ctx, access)
	m.Heed(err)
	if err == nil && in.Dated {
		m.dated.note(in.Date, m.now())
	}
	return in, err
}

// dated is the latest Date of an answer of the server.
type dated struct {
	mu   sync.Mutex
	date time.Time
	at   time.Duration
}

func (d *dated) note(date time.Time, now time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	// An answer that was under way for long says less than one before it.
	if age := now - d.at; d.at == 0 || age > time.Minute || date.After(d.date.Add(age)) {
		d.date, d.at = date, now
	}
}

// latest returns the server's time by an answer of the last minute.
func (d *dated) latest(now time.Duration) (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	age := now - d.at
	return d.date.Add(age), d.at != 0 && age <= time.Minute
}

// calibration is whether a refresh kills the old access token at this server. One
// that leaves it active would make every lost answer seem to be of a refresh that
// never took place.
type calibration struct{ state atomic.Int32 }

const (
	uncalibrated int32 = iota
	calibrating
	calibrated
	refuted
)

func (c *calibration) off() bool { return c.state.Load() == refuted }

// calibrate probes the access token that the first successful refresh should
// have killed. One active answer may be lag; two, confirmWait apart, are not.
func (m *Manager) calibrate(ctx context.Context, old grant) {
	if old.Access == "" || !m.calibration.state.CompareAndSwap(uncalibrated, calibrating) {
		return
	}
	if !m.begin() {
		return
	}
	go func() {
		defer m.work.Done()
		m.calibration.state.Store(m.tryProbe(ctx, old))
	}()
}

func (m *Manager) tryProbe(ctx context.Context, old grant) int32 {
	for n := range 2 {
		switch m.probe(ctx, old, m.now()) {
		case inactive:
			return calibrated
		case active:
		default:
			return uncalibrated
		}
		if n == 0 && !m.sleep(m.confirmWait) {
			return uncalibrated
		}
	}
	m.tell(ctx, Report{Kind: Uncalibrated})
	return refuted
}
