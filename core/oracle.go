package core

import (
	"context"
	"sync/atomic"
	"time"
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
func (r *refresher) look(ctx context.Context, gr grant, seen time.Time) verdict {
	switch {
	case gr.Access == "", !gr.Dated, gr.Unrotated, r.oracle.off():
		return blind
	case time.Since(seen) >= gr.ExpiresIn:
		return blind
	}
	in, err := r.introspect(ctx, gr.Access)
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

func (r *refresher) introspect(ctx context.Context, access string) (introspection, error) {
	select {
	case r.looks <- struct{}{}:
		defer r.looks.release()
	case <-ctx.Done():
		return introspection{}, ctx.Err()
	}
	return r.a.musixmatch.introspect(ctx, access)
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
func (r *refresher) calibrate(old grant) {
	if old.Access == "" || !r.oracle.state.CompareAndSwap(oracleUntested, oracleTesting) {
		return
	}
	if !r.a.begin() {
		return
	}
	go func() {
		defer r.a.work.Done()
		r.oracle.state.Store(r.tryOracle(context.Background(), old))
	}()
}

func (r *refresher) tryOracle(ctx context.Context, old grant) int32 {
	for look := 0; look < 2; look++ {
		switch r.look(ctx, old, time.Now()) {
		case inactive:
			return oracleTrusted
		case active:
		default:
			return oracleUntested
		}
		if look == 0 && !r.sleep(r.settle) {
			return oracleUntested
		}
	}
	r.a.log.Warn("musixmatch: a refresh leaves the old access token active here; lost answers will be resolved by waiting and replaying")
	return oracleRefuted
}

// sleep returns false when Auth is closing.
func (r *refresher) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.closing:
		return false
	}
}
