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
	if wait := f.tooEarly(); wait > 0 {
		if s := f.alive(); f.e.refused != nil && s == nil {
			return f.land(result{err: &Failure{Upstream, f.e.refused}})
		}
		f.offer()
		if !f.hold(min(wait, f.m.confirmWait)) || !f.sentIntent && !f.wanted() {
			return f.land(result{err: unavailable(errBackedOff)})
		}
		return f.find // somebody may have disconnected meanwhile
	}
	conn, err := f.connect()
	if err != nil {
		return f.notConnected(err)
	}
	if !f.acquire() {
		return f.land(result{err: unavailable(errClosed)})
	}
	began := f.m.clock.Now()
	stop := f.offerIfSlow()
	own, out, err := f.writeIntent(f.attempt())
	stop()
	if out != writeDone { // the refresh token is untouched
		f.release()
		f.replaying = false
		if out == writeConflict {
			return f.again()
		}
		return f.later(ReasonUnavailable, err)
	}
	f.withdraw()
	return func() step { return f.post(conn, own, began) }
}

// writeIntent puts an intent of ours in place of what is stored.
func (f *flight) writeIntent(attempt int) (own *ownIntent, out writeResult, err error) {
	in := &intent{ID: seal.RandomString(), Attempt: attempt, Lease: f.m.intentLease, Started: time.Now(), Owner: f.m.owner}
	own = f.e.attempts.add(in, f.gr.Intent, f.tookOver)
	next := f.gr
	next.Intent = in
	next.MaxLease = max(next.MaxLease, in.Lease)
	// The old access token is dead already, so it cannot say whether this refresh
	// takes place: not here, and not to who takes over.
	next.ExpiryKnown = next.ExpiryKnown && !f.e.watch.dead
	out, err = f.write(next)
	f.e.attempts.wrote = f.m.now()
	return own, out, err
}

// notConnected is a refresh for which there is no connection. Nothing was
// announced, so nothing has changed.
func (f *flight) notConnected(err error) step {
	f.replaying = false
	if f.gr.Intent == nil {
		return f.later(ReasonUnavailable, err)
	}
	f.failed(ReasonUnavailable, err, 0)
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

// acquire waits for one of the refreshes that may be under way: before the
// intent, so that no intent grows old in the queue.
func (f *flight) acquire() bool {
	if f.errand.pace != nil { // Maintain has as many flights as it has workers
		f.offer()
		ctx, cancel := context.WithCancel(f.ctx)
		defer cancel()
		defer context.AfterFunc(f.m.live, cancel)()
		return keepPace(ctx) == nil
	}
	for _, sem := range []semaphore{f.m.postSem, f.m.refreshSem} {
		select {
		case sem <- struct{}{}:
			f.slots = append(f.slots, sem)
			continue
		default:
			f.offer()
		}
		select {
		case sem <- struct{}{}:
			f.slots = append(f.slots, sem)
		case <-f.m.live.Done():
			f.release()
			return false
		}
	}
	return true
}

// release gives back what acquire took.
func (f *flight) release() {
	for _, sem := range f.slots {
		sem.release()
	}
	f.slots = nil
}

// yield gives the place of a refresh that hangs to one that may move.
func (f *flight) yield() {
	if len(f.slots) == 2 {
		f.slots[1].release()
		f.slots = f.slots[:1]
	}
}

// post is P4: the refresh token is presented, exactly once.
func (f *flight) post(conn Conn, own *ownIntent, began musixmatch.Moment) step {
	answers := conn.Send(func() bool { return f.m.clock.Since(began) <= f.m.sendBudget })
	hangs := time.NewTimer(time.Second)
	defer hangs.Stop()
	limit := time.NewTimer(f.m.refreshTimeout)
	defer limit.Stop()
	for {
		select {
		case a := <-answers:
			f.release()
			f.hangUp()
			return f.answered(a, own, began)
		case <-hangs.C:
			f.yield()
		case <-limit.C:
			f.release()
			own.sent, f.sentIntent = true, true
			f.usedReplay()
			f.failed(ReasonUnavailable, &musixmatch.CallError{What: "the token endpoint", Cause: context.DeadlineExceeded}, f.m.clock.Since(began))
			return func() step { return f.readOn(conn, answers, own, began) }
		}
	}
}

// usedReplay takes note that the one replay of a holder is used up.
func (f *flight) usedReplay() {
	if f.replaying {
		f.e.attempts.replayed, f.replaying = true, false
	}
}

// readOn is for an answer that does not come in time. While token-metadata can
// say whether the refresh took place, the connection is kept: if it did, the
// answer exists, and is waited for up to three times RefreshTimeout, also when
// token-metadata has nothing new to say. The intent is renewed meanwhile, so that
// nobody takes over. If it did not, the connection is reset, so that nothing is
// delivered that is still queued.
func (f *flight) readOn(conn Conn, answers <-chan musixmatch.Answer, own *ownIntent, began musixmatch.Moment) step {
	f.offer()
	giveUp := func(next step) step {
		conn.Reset()
		defer f.hangUp()
		moment := time.NewTimer(time.Second)
		defer moment.Stop()
		select {
		case a := <-answers: // it ends now, and may have come before
			if a.Err == nil {
				return f.answered(a, own, began)
			}
		case <-moment.C:
		}
		f.e.attempts.ended = f.m.now()
		return next
	}
	sent := f.m.now() - f.m.refreshTimeout
	apart := f.m.waitOf(f.gr.Intent)
	last := noVerdict
	for {
		v := f.m.probeNow(f.ctx, f.gr, f.e.watch.seen)
		f.e.watch.probed(v, f.m.now(), apart)
		if last == inactive && v != active {
			v = inactive
		}
		waited := f.m.now() - sent
		switch {
		case v == blind, v == active && last == active, v != inactive && waited >= f.m.intentLease, waited >= 3*f.m.refreshTimeout:
			return giveUp(f.resolve)
		case v == inactive && last == inactive:
			if !f.renew(own.attempt) {
				return giveUp(f.find)
			}
		}
		last = v
		next := time.NewTimer(min(apart, sent+3*f.m.refreshTimeout-f.m.now()))
		closing := f.m.live.Done()
		if v == inactive {
			closing = nil // the answer exists: it is worth the wait
		}
		select {
		case a := <-answers:
			next.Stop()
			f.hangUp()
			return f.answered(a, own, began)
		case <-closing:
			next.Stop()
			return giveUp(func() step { return f.land(result{err: unavailable(errInDoubt)}) })
		case <-next.C:
		}
	}
}

// renew announces anew the POST that is under way. It reports false if the record
// is not ours any more. A store that fails is asked again at the next look: the
// answer is waited for two leases at the most, and a blind taker waits for four.
func (f *flight) renew(attempt int) bool {
	renewed, out, _ := f.writeIntent(attempt)
	renewed.sent = true // there is no other POST; the write may take place though it failed
	if out != writeConflict {
		return true
	}
	mine, version := f.gr, f.version
	if _, err := f.read(); err != nil || f.e.attempts.of(f.gr.Intent) != nil {
		return true
	}
	marked := f.gr.Status == statusReconnect && f.gr.Generation == mine.Generation && f.gr.GrantID == mine.GrantID
	f.gr, f.version = mine, version
	return marked // too early: the answer goes over the mark
}

// answered goes on by what came of the POST.
func (f *flight) answered(a musixmatch.Answer, own *ownIntent, began musixmatch.Moment) step {
	took := f.m.clock.Since(began)
	f.e.attempts.ended = f.m.now()
	call := new(musixmatch.CallError)
	if errors.As(a.Err, &call) && !call.Sent {
		f.replaying = false
		f.failed(ReasonUnavailable, a.Err, took)
		return f.unspent(own, func() step { return f.later("", a.Err) })
	}
	own.sent, f.sentIntent = true, true
	f.usedReplay()
	if a.Err == nil {
		return f.salvage(a.Tokens, took)
	}
	f.m.Heed(a.Err)
	switch {
	case call.Temporary():
		f.failed(ReasonUnavailable, a.Err, took)
	case call.Code == "invalid_grant":
		return f.invalidGrant(own, a.Err, took)
	case call.Definite():
		if call.WrongClient() {
			f.failed(ReasonInvalidClient, a.Err, took)
			return f.unspent(own, func() step { return f.later("", a.Err) })
		}
		f.failed(ReasonUpstream, a.Err, took)
		return f.unspent(own, func() step { return f.refuse(a.Err) })
	default:
		f.failed(ReasonUpstream, a.Err, took)
	}
	return f.resolve
}

// unspent is a refresh token that was not presented, or not considered. Only a
// first attempt may clear its intent: later ones began in doubt, and stay in it.
func (f *flight) unspent(own *ownIntent, next step) step {
	if own.attempt > 1 {
		if f.backOff() {
			return nil
		}
		return f.resolve
	}
	f.sentIntent, own.sent = false, false
	f.offer() // the old token lives
	_, _ = f.clear()
	return next()
}

// clear takes the intent out of the record. If that fails it stays, known to
// this process as unsent and to others as foreign.
func (f *flight) clear() (writeResult, error) {
	next := f.gr
	next.Intent = nil
	return f.write(next)
}

// invalidGrant counts when the record, read again, still says what it said.
func (f *flight) invalidGrant(own *ownIntent, cause error, took time.Duration) step {
	generation := f.gr.Generation
	found, err := f.read()
	for n := 1; err != nil; n++ {
		if !f.hold(f.m.backoff(n)) {
			return f.land(result{err: unavailable(err)})
		}
		found, err = f.read()
	}
	if !found || f.gr.Generation != generation || f.gr.Status != statusLive || f.gr.Intent != nil && f.e.attempts.of(f.gr.Intent) == nil {
		f.failed(ReasonRaceLost, cause, took)
		return f.find // a sibling has won, or may yet
	}
	if own.attempt == 1 {
		return f.markLost(ReasonRevoked)
	}
	return f.markLost(ReasonLostResponse)
}
