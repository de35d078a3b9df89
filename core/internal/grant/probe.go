package grant

import (
	"context"
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

// look introspects the grant's access token, unless the answer could prove
// nothing. Natural expiry is judged on the server's clock, by the Date of the
// token response against the Date of this answer; or by the token's whole life
// having passed here since seen, when this process first saw it.
func (m *Manager) probe(ctx context.Context, gr grant, seen time.Time) verdict {
	switch {
	case gr.Access == "", !gr.ExpiryKnown, gr.NotRotated, m.calibration.off():
		return blind
	case time.Since(seen) >= gr.ExpiresIn:
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

func (m *Manager) introspect(ctx context.Context, access string) (musixmatch.Introspection, error) {
	select {
	case m.probeSem <- struct{}{}:
		defer m.probeSem.release()
	case <-ctx.Done():
		return musixmatch.Introspection{}, ctx.Err()
	}
	return m.server.Introspect(ctx, access)
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
		switch m.probe(ctx, old, time.Now()) {
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
