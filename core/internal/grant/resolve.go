package grant

import "time"

// resolve is P7: a refresh token may have been spent, and the answer is not
// known. The old access token says which, where it can.
func (f *flight) resolve() step {
	f.offer()
	last := noVerdict
	for {
		apart := f.m.waitOf(f.gr.Intent)
		wait := apart
		if last == noVerdict {
			wait -= f.silence()
		}
		if !f.hold(wait) {
			return f.land(result{err: unavailable(errInDoubt)})
		}
		same, next := f.unchanged()
		if !same {
			return next
		}
		v := f.m.probe(f.ctx, f.gr, f.e.watch.seen)
		f.e.watch.probed(v, f.m.now(), apart)
		switch v {
		case blind:
			return f.resolveBlind
		case noAnswer:
			if f.backOff() {
				return nil
			}
		case last: // two probes, far enough apart, agree
			return f.decide(v)
		}
		last = v
	}
}

// silence is for how long no request of the refresh in doubt can have been under
// way: since our own ended, or since the lease of somebody else's did.
func (f *flight) silence() time.Duration {
	switch own := f.e.attempts.of(f.gr.Intent); {
	case f.gr.Intent == nil:
		return 0
	case own == nil:
		return f.m.now() - f.e.watch.since - f.m.leaseOf(f.gr.Intent)
	default:
		return f.m.now() - f.e.attempts.ended
	}
}

// decide ends a doubt that token-metadata has resolved.
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

// resolveBlind resolves a doubt about which nothing can be found out: by trying
// the refresh token again, once per lease and ever more rarely. One who took over
// leaves the same intent alone for four leases first, since its holder may live
// and hold the answer.
func (f *flight) resolveBlind() step {
	if f.tookOver && f.e.watch.provenSpent {
		return f.markLost(ReasonLostResponse)
	}
	if f.gr.Intent == nil {
		return f.find // what looked like a refresh of nobody was none
	}
	lease, attempt := f.m.leaseOf(f.gr.Intent), f.gr.Intent.Attempt
	if f.inTheDark == 0 || f.inTheDark > attempt {
		f.inTheDark = attempt
	}
	due := f.e.attempts.wrote + max(lease, min(lease<<min(attempt-f.inTheDark, 10), longestPause))
	if f.e.attempts.of(f.gr.Intent) == nil {
		due = f.e.watch.since + 4*lease
	}
	for left := due - f.m.now(); ; left = due - f.m.now() {
		if !f.hold(min(left, f.m.intentLease)) {
			return f.land(result{err: unavailable(errInDoubt)})
		}
		if same, next := f.unchanged(); !same {
			return next // somebody may have signed in or disconnected
		}
		if left <= f.m.intentLease {
			return f.announce
		}
	}
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
