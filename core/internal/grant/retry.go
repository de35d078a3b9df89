package grant

import (
	"time"
)

// later backs off: the token at hand is served while it lives, else the flight
// goes on for as long as somebody waits for it.
func (f *flight) later(reason string, cause error) step {
	if reason != "" {
		f.failed(reason, cause, time.Time{})
	}
	if f.sentIntent {
		if f.backOff() {
			return nil
		}
		return f.find
	}
	f.e.failures++
	wait := max(f.m.backoff(f.e.failures), time.Until(f.e.retryAt))
	f.e.retryAt = time.Now().Add(wait)
	if s := f.e.alive(f.m.clock.Elapsed(), f.rejected); s != nil {
		return f.land(result{served: f.serveFor(s, min(wait, s.valid-f.m.clock.Elapsed()))})
	}
	if reason == ReasonDecryptFailed || !f.pause(wait) || !f.wanted() {
		return f.land(result{err: unavailable(cause)}) // no waiting brings a missing key
	}
	return f.find
}

// backOff waits, longer after every failure, with the doubt kept.
func (f *flight) backOff() (ended bool) {
	f.e.failures++
	f.offer()
	if !f.pause(f.m.backoff(f.e.failures)) {
		f.land(result{err: unavailable(errInDoubt)})
		return true
	}
	return false
}

// again goes back to P2 after a conflict; not in a hot loop, whatever the store
// does.
func (f *flight) again() step {
	if f.conflicts++; f.conflicts > 3 && !f.pause(f.m.backoff(f.conflicts-3)) {
		return f.land(result{err: unavailable(ErrConflict)})
	}
	return f.find
}

// failed reports a failure that ends nothing.
func (f *flight) failed(reason string, err error, began time.Time) {
	e := Report{Kind: RefreshFailed, Reason: reason, Err: err}
	if !began.IsZero() {
		e.Took = time.Since(began)
	}
	f.tell(e)
}
