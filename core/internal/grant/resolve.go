package grant

import "time"

// inDoubt is P7: a refresh token may have been spent, and the answer is not
// known. The old access token says which, where it can.
func (f *flight) resolve() step {
	f.offer()
	last := noVerdict
	for wait := f.m.confirmWait; ; wait = f.m.confirmWait {
		if !f.pause(wait) {
			return f.land(result{err: unavailable(errInDoubt)})
		}
		same, next := f.unchanged()
		if !same {
			return next
		}
		v := f.m.probe(f.ctx, f.gr, f.e.watch.seen)
		f.e.watch.probed(v, f.m.confirmWait)
		switch v {
		case blind:
			return f.resolveBlind
		case noAnswer:
			if f.backOff() {
				return nil
			}
		case last: // two looks, a settle apart, agree
			return f.decide(v)
		}
		last = v
	}
}

// decide ends a doubt that the oracle has resolved.
func (f *flight) decide(v verdict) step {
	switch {
	case v == active && f.gr.Intent == nil:
		return f.find
	case v == active && f.gr.Intent.Attempt >= maxAttempts:
		return f.startOver
	case v == active: // not consumed
		return f.announce
	case !f.tookOver && !f.e.attempts.replayed:
		// Consumed, and no other process can hold the answer: the intent is still
		// ours. Only a server with a grace period can help, and it is asked once.
		f.replaying = true
		return f.announce
	default:
		return f.markLost(ReasonLostResponse)
	}
}

// startOver clears the intent of a refresh that did not take place, for the
// third time.
func (f *flight) startOver() step {
	switch out, err := f.clear(); out {
	case writeConflict:
		return f.again()
	case writeFailed:
		return f.later(ReasonUnavailable, err)
	}
	f.sentIntent = false
	f.e.attempts = attempts{}
	return f.later("", errInDoubt)
}

// inTheDark resolves a doubt that the oracle cannot: by trying the refresh
// token again, once per lease. A taker leaves the same intent alone for four
// leases first, since its holder may live and hold the answer.
func (f *flight) resolveBlind() step {
	if f.tookOver && f.e.watch.provenSpent {
		return f.markLost(ReasonLostResponse)
	}
	if f.gr.Intent == nil {
		return f.find // what looked like a refresh of nobody was none
	}
	due := f.e.attempts.wrote.Add(f.m.intentLease)
	if f.e.attempts.of(f.gr.Intent) == nil {
		due = f.e.watch.since.Add(4 * f.m.intentLease)
	}
	if !f.pause(time.Until(due)) {
		return f.land(result{err: unavailable(errInDoubt)})
	}
	if same, next := f.unchanged(); !same {
		return next
	}
	return f.announce
}

// unchanged reads the record again. If it is not the one that is in doubt, or
// cannot be read, it says how to go on.
func (f *flight) unchanged() (same bool, next step) {
	for {
		version := f.version
		_, err := f.read()
		switch {
		case err != nil:
			if f.backOff() {
				return false, nil
			}
		case f.version != version:
			return false, f.find
		default:
			return true, nil
		}
	}
}
