package core

import (
	"time"
)

// later backs off: the token at hand is served while it lives, else the flight
// goes on for as long as somebody waits for it.
func (f *flight) later(reason string, cause error) step {
	if reason != "" {
		f.failed(reason, cause, time.Time{})
	}
	if f.holding {
		if f.backOff() {
			return nil
		}
		return f.find
	}
	f.k.failures++
	wait := max(f.r.backoff(f.k.failures), time.Until(f.k.retryAt))
	f.k.retryAt = time.Now().Add(wait)
	if s := f.k.alive(f.r.now(), f.rejected); s != nil {
		return f.land(result{served: f.serveFor(s, min(wait, s.valid-f.r.now()))})
	}
	if reason == reasonDecryptFailed || !f.pause(wait) || !f.wanted() {
		return f.land(result{err: unavailable(cause)}) // no waiting brings a missing key
	}
	return f.find
}

// backOff waits, longer after every failure, with the doubt kept.
func (f *flight) backOff() (ended bool) {
	f.k.failures++
	f.offer()
	if !f.pause(f.r.backoff(f.k.failures)) {
		f.land(result{err: unavailable(errInDoubt)})
		return true
	}
	return false
}

// again goes back to P2 after a conflict; not in a hot loop, whatever the store
// does.
func (f *flight) again() step {
	if f.conflicts++; f.conflicts > 3 && !f.pause(f.r.backoff(f.conflicts-3)) {
		return f.land(result{err: unavailable(ErrConflict)})
	}
	return f.find
}

// failed reports a failure that ends nothing.
func (f *flight) failed(reason string, err error, began time.Time) {
	e := Event{Kind: EventRefreshFailed, Reason: reason, Err: err}
	if !began.IsZero() {
		e.Took = time.Since(began)
	}
	f.emit(e)
}
