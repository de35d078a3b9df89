package grant

import (
	"context"
	"errors"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
	"github.com/mxmconnect/mxmconnect/core/internal/seal"
)

// announce is P3. Every POST, first or replay, is preceded by an intent of its
// own, so that the lease of every watcher begins anew. The connection stands
// before the intent is written, and callers are told to wait only then.
func (f *flight) announce() step {
	if f.gr.Refresh == "" {
		return f.unrenewable
	}
	if wait := time.Until(f.e.retryAt); wait > 0 {
		f.offer()
		if !f.pause(wait) || !f.sentIntent && !f.wanted() {
			return f.land(result{err: unavailable(errBackedOff)})
		}
	}
	conn, err := f.connect()
	if err != nil {
		return f.notConnected(err)
	}
	if !f.acquire() {
		return f.land(result{err: unavailable(errClosed)})
	}
	f.withdraw()
	began := f.m.clock.Now()
	in := &intent{ID: seal.RandomString(), Attempt: f.attempt(), Started: time.Now(), Owner: f.m.owner}
	own := f.e.attempts.add(in, f.gr.Intent, f.tookOver)
	next := f.gr
	next.Intent = in
	out, err := f.write(next)
	f.e.attempts.wrote = time.Now()
	if out != writeDone { // the refresh token is untouched
		f.m.refreshSem.release()
		f.replaying = false
		if out == writeConflict {
			return f.again()
		}
		return f.later(ReasonUnavailable, err)
	}
	return func() step { return f.post(conn, own, began) }
}

// notConnected is a refresh for which there is no connection. Nothing was
// announced, so nothing has changed.
func (f *flight) notConnected(err error) step {
	f.replaying = false
	if f.gr.Intent == nil {
		return f.later(ReasonUnavailable, err)
	}
	f.failed(ReasonUnavailable, err, time.Time{})
	if f.backOff() {
		return nil
	}
	return f.find
}

// attempt is the number of the next attempt. It counts on through takeovers;
// a first attempt that sent nothing does not count.
func (f *flight) attempt() int {
	own := f.e.attempts.of(f.gr.Intent)
	if f.gr.Intent == nil || own != nil && !own.sent && own.attempt == 1 {
		return 1
	}
	return f.gr.Intent.Attempt + 1
}

// acquire waits for one of the calls that may be under way at the server: before
// the intent, so that no intent grows old in the queue.
func (f *flight) acquire() bool {
	select {
	case f.m.refreshSem <- struct{}{}:
		return true
	default:
		f.offer()
	}
	select {
	case f.m.refreshSem <- struct{}{}:
		return true
	case <-f.m.closing:
		return false
	}
}

// post is P4: the refresh token is presented, exactly once.
func (f *flight) post(conn Conn, own *ownIntent, began musixmatch.Moment) step {
	answered := conn.Send(func() bool { return f.m.clock.Since(began) <= f.m.sendBudget })
	limit := time.NewTimer(f.m.refreshTimeout)
	defer limit.Stop()
	var a musixmatch.Answer
	select {
	case a = <-answered:
	case <-limit.C:
		a.Err = &musixmatch.CallError{What: "the token endpoint", Sent: true, Cause: context.DeadlineExceeded}
		conn.Reset()
	}
	f.m.refreshSem.release()
	f.hangUp()

	began0 := began.Wall
	var call *musixmatch.CallError
	if errors.As(a.Err, &call) && !call.Sent {
		f.replaying = false
		f.failed(ReasonUnavailable, a.Err, began0)
		return f.unspent(own, a.Err)
	}
	own.sent, f.sentIntent = true, true
	if f.replaying {
		f.e.attempts.replayed, f.replaying = true, false
	}
	if a.Err == nil {
		return f.salvage(a.Tokens, began0)
	}
	if call == nil {
		call = &musixmatch.CallError{}
	}
	if call.RetryAfter > 0 {
		f.e.retryAt = time.Now().Add(call.RetryAfter)
	}
	switch {
	case call.Temporary():
		f.failed(ReasonUnavailable, a.Err, began0)
	case call.Status >= 400 && call.Code == "invalid_grant":
		return f.invalidGrant(own, a.Err, began0)
	case call.Status >= 400 && call.WrongClient():
		f.failed(ReasonInvalidClient, a.Err, began0)
		return f.unspent(own, a.Err)
	default:
		f.failed(ReasonUpstream, a.Err, began0)
	}
	return f.resolve
}

// unspent is a refresh token that was not presented, or not considered. Only a
// first attempt may clear its intent: later ones began in doubt, and stay in it.
func (f *flight) unspent(own *ownIntent, cause error) step {
	if own.attempt > 1 {
		if f.backOff() {
			return nil
		}
		return f.resolve
	}
	f.sentIntent, own.sent = false, false
	_, _ = f.clear()
	return f.later("", cause)
}

// clear takes the intent out of the record. If that fails it stays, known to
// this process as unsent and to others as foreign.
func (f *flight) clear() (writeResult, error) {
	next := f.gr
	next.Intent = nil
	return f.write(next)
}

// invalidGrant counts when the record, read again, still
// says what it said.
func (f *flight) invalidGrant(own *ownIntent, cause error, began time.Time) step {
	generation := f.gr.Generation
	found, err := f.read()
	for n := 1; err != nil; n++ {
		if !f.pause(f.m.backoff(n)) {
			return f.land(result{err: unavailable(err)})
		}
		found, err = f.read()
	}
	if !found || f.gr.Generation != generation || f.gr.Status != statusLive || f.gr.Intent != nil && f.e.attempts.of(f.gr.Intent) == nil {
		f.failed(ReasonRaceLost, cause, began)
		return f.find // a sibling has won, or may yet
	}
	if own.attempt == 1 {
		return f.markLost(ReasonRevoked)
	}
	return f.markLost(ReasonLostResponse)
}
