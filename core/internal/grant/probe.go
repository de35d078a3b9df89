package grant

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
)

// The oracle for lost answers. A refresh kills the old access token: if that
// token is active, the refresh did not happen; if it is inactive before its
// natural end, the refresh did.

// verdict is what one look at the oracle says.
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
	switch {
	case gr.Access == "", !gr.ExpiryKnown, gr.NotRotated, m.calibration.off():
		return blind
	case m.now()-seen >= gr.ExpiresIn:
		return blind
	}
	in, err := m.introspect(ctx, gr.Access)
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
	return now.Before(gr.Issued.Add(gr.ExpiresIn))
}

// introspect asks token-metadata. It ends when Manager closes: what only asks
// is not waited for.
func (m *Manager) introspect(ctx context.Context, access string) (musixmatch.Introspection, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.live, cancel)()
	if m.paused() > 0 {
		return musixmatch.Introspection{}, errPaused
	}
	select {
	case m.probeSem <- struct{}{}:
		defer m.probeSem.release()
	case <-ctx.Done():
		return musixmatch.Introspection{}, ctx.Err()
	}
	return m.introspectNow(ctx, access)
}

// introspectNow asks for a flight that holds tokens which exist nowhere else. It
// queues behind nobody.
func (m *Manager) introspectNow(ctx context.Context, access string) (musixmatch.Introspection, error) {
	in, err := m.server.Introspect(ctx, access)
	m.heed(err)
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
	d.date, d.at = date, now
}

// latest returns the server's time by an answer of the last minute.
func (d *dated) latest(now time.Duration) (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	age := now - d.at
	return d.date.Add(age), d.at != 0 && age <= time.Minute
}

// calibration is whether this issuer's oracle tells the truth. A server that
// leaves old access tokens alive would make every lost answer look like a
// refresh that never happened.
type calibration struct{ state atomic.Int32 }

const (
	oracleUntested int32 = iota
	oracleTesting
	oracleTrusted
	oracleRefuted
)

func (c *calibration) off() bool { return c.state.Load() == oracleRefuted }

// calibrate looks at the access token that the first successful refresh
// should have killed. One active answer may be lag, two a settle apart are not.
func (m *Manager) calibrate(old grant) {
	if old.Access == "" || !m.calibration.state.CompareAndSwap(oracleUntested, oracleTesting) {
		return
	}
	if !m.begin() {
		return
	}
	go func() {
		defer m.work.Done()
		m.calibration.state.Store(m.tryOracle(context.Background(), old))
	}()
}

func (m *Manager) tryOracle(ctx context.Context, old grant) int32 {
	for look := 0; look < 2; look++ {
		switch m.probe(ctx, old, m.now()) {
		case inactive:
			return oracleTrusted
		case active:
		default:
			return oracleUntested
		}
		if look == 0 && !m.sleep(m.confirmWait) {
			return oracleUntested
		}
	}
	m.tell(ctx, Report{Kind: Uncalibrated})
	return oracleRefuted
}
