package core

import (
	"context"
	"errors"
	"time"
)

// announce is P3. Every POST, first or replay, is preceded by an intent of its
// own, so that the lease of every watcher begins anew.
func (f *flight) announce() step {
	if f.gr.Refresh == "" {
		return f.unrenewable
	}
	if wait := time.Until(f.k.retryAt); wait > 0 {
		f.offer()
		if !f.pause(wait) || !f.holding && !f.wanted() {
			return f.land(result{err: unavailable(errBackedOff)})
		}
	}
	if !f.slot() {
		return f.land(result{err: unavailable(errClosed)})
	}
	f.withdraw()
	began := time.Now()
	in := &intent{ID: randomString(), Attempt: f.attempt(), Started: began, Owner: f.r.owner}
	own := f.k.doubt.add(in, f.gr.Intent, f.taker)
	next := f.gr
	next.Intent = in
	out, err := f.write(next)
	f.k.doubt.wrote = time.Now()
	switch out {
	case writeConflict:
		f.r.posts.release()
		f.replaying = false
		return f.again()
	case writeFailed: // the refresh token is untouched
		f.r.posts.release()
		f.replaying = false
		return f.later(reasonUnavailable, err)
	}
	return func() step { return f.spend(own, began) }
}

// attempt is the number of the next attempt. It counts on through takeovers;
// a first attempt that sent nothing does not count.
func (f *flight) attempt() int {
	own := f.k.doubt.of(f.gr.Intent)
	if f.gr.Intent == nil || own != nil && !own.sent && own.attempt == 1 {
		return 1
	}
	return f.gr.Intent.Attempt + 1
}

// slot waits for one of the calls that may be under way at Musixmatch: before
// the intent, so that no intent grows old in the queue.
func (f *flight) slot() bool {
	select {
	case f.r.posts <- struct{}{}:
		return true
	default:
	}
	f.offer()
	select {
	case f.r.posts <- struct{}{}:
		return true
	case <-f.r.closing:
		return false
	}
}

// spend is P4: the refresh token is presented, exactly once.
func (f *flight) spend(own *ownIntent, began time.Time) step {
	ctx, cancel := context.WithTimeout(f.ctx, f.r.post)
	t, err := f.r.a.musixmatch.refresh(ctx, f.gr.Refresh, func() bool { return f.r.inBudget(began) })
	cancel()
	f.r.posts.release()

	var call *callError
	if errors.As(err, &call) && !call.Sent {
		f.replaying = false
		f.failed(reasonUnavailable, err, began)
		return f.unspent(own, err)
	}
	own.sent, f.holding = true, true
	if f.replaying {
		f.k.doubt.replayed, f.replaying = true, false
	}
	if err == nil {
		return f.salvage(t, began)
	}
	if call == nil {
		call = &callError{}
	}
	if call.RetryAfter > 0 {
		f.k.retryAt = time.Now().Add(call.RetryAfter)
	}
	refused := call.Status >= 400 && call.Status < 500
	switch {
	case refused && call.Code == "invalid_grant":
		return f.refused(own, err, began)
	case refused && (call.Code == "invalid_client" || call.Code == "unauthorized_client"):
		f.failed(reasonInvalidClient, err, began)
		return f.unspent(own, err)
	case call.Status == 0 || call.Status == 429 || call.Status >= 500:
		f.failed(reasonUnavailable, err, began)
	default:
		f.failed(reasonUpstream, err, began)
	}
	return f.inDoubt
}

// unspent is a refresh token that was not presented, or not considered. Only a
// first attempt may clear its intent: later ones began in doubt, and stay in it.
func (f *flight) unspent(own *ownIntent, cause error) step {
	if own.attempt > 1 {
		if f.backOff() {
			return nil
		}
		return f.inDoubt
	}
	f.holding, own.sent = false, false
	_, _ = f.clear()
	return f.later("", cause)
}

// clear takes the intent out of the record. If that fails it stays, known to
// this process as unsent and to others as foreign.
func (f *flight) clear() (outcome, error) {
	next := f.gr
	next.Intent = nil
	return f.write(next)
}

// refused is an invalid_grant: it counts when the record, read again, still
// says what it said.
func (f *flight) refused(own *ownIntent, cause error, began time.Time) step {
	gen := f.gr.Gen
	found, err := f.read()
	for n := 1; err != nil; n++ {
		if !f.pause(f.r.backoff(n)) {
			return f.land(result{err: unavailable(err)})
		}
		found, err = f.read()
	}
	if !found || f.gr.Gen != gen || f.gr.Status != grantLive || f.gr.Intent != nil && f.k.doubt.of(f.gr.Intent) == nil {
		f.failed(reasonRaceLost, cause, began)
		return f.find // a sibling has won, or may yet
	}
	if own.attempt == 1 {
		return f.lost(reasonRevoked)
	}
	return f.lost(reasonLostResponse)
}
