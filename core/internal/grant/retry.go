package grant

import (
	"errors"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
)

// later backs off: the token at hand is served while it lives, else the flight
// goes on for as long as somebody waits for it.
func (f *flight) later(reason string, cause error) step {
	if reason != "" {
		f.failed(reason, cause, 0)
	}
	if f.sentIntent {
		if f.backOff() {
			return nil
		}
		return f.find
	}
	f.e.failures++
	wait := max(f.m.backoff(f.e.failures), f.e.retryAt-f.m.now())
	f.e.retryAt = f.m.now() + wait
	if s := f.alive(); s != nil {
		return f.land(result{served: f.serveFor(s, min(wait, s.valid-f.m.clock.Since(s.at)))})
	}
	if reason == ReasonDecryptFailed || !f.hold(wait) || !f.wanted() {
		return f.land(result{err: unavailable(cause)}) // no waiting brings a missing key
	}
	return f.find
}

// refuse is for what the server refuses definitely, so that waiting is no use:
// callers hear it at once, and it is tried again ever more rarely.
func (f *flight) refuse(cause error) step {
	f.e.failures++
	f.e.refused, f.e.retryAt = cause, f.m.now()+grow(f.e.failures, 5*time.Minute)
	if s := f.alive(); s != nil {
		return f.land(result{served: f.serveFor(s, s.valid-f.m.clock.Since(s.at))})
	}
	return f.land(result{err: &Failure{Upstream, cause}})
}

// tooEarly is how long no POST may be made yet: after failures of this grant,
// or because the server has asked this client to wait.
func (f *flight) tooEarly() time.Duration { return max(f.e.retryAt-f.m.now(), f.m.Paused()) }

// backOff waits, longer after every failure, with the doubt kept.
func (f *flight) backOff() (ended bool) {
	f.e.failures++
	f.offer()
	if !f.hold(f.m.backoff(f.e.failures)) {
		f.land(result{err: unavailable(errInDoubt)})
		return true
	}
	return false
}

// again goes back to find after a conflict; not in a hot loop, whatever the
// store does.
func (f *flight) again() step {
	if f.conflicts++; f.conflicts > 3 && !f.hold(f.m.backoff(f.conflicts-3)) {
		return f.land(result{err: unavailable(ErrConflict)})
	}
	return f.find
}

// failed reports a failure that ends nothing.
func (f *flight) failed(reason string, err error, took time.Duration) {
	f.tell(Report{Kind: RefreshFailed, Reason: reason, Err: err, Took: took})
}

// ErrPaused is the error of a call that is not made because the server wants none yet.
var ErrPaused = errors.New("the server has asked this client to wait")

// Heed takes note of a server that asks us to wait: that is about this client,
// not about one grant. Another error, or nil, changes nothing.
func (m *Manager) Heed(err error) {
	var call *musixmatch.CallError
	if !errors.As(err, &call) {
		return
	}
	wait := call.RetryAfter
	if call.Status == 429 {
		wait = max(wait, m.confirmWait/3)
	}
	if wait > 0 {
		m.pausedUntil.Store(int64(m.now() + wait))
	}
}

// Paused is how long the server still wants no call of this client.
func (m *Manager) Paused() time.Duration {
	return max(0, time.Duration(m.pausedUntil.Load())-m.now())
}
