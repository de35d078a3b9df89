package core

import (
	"cmp"
	"context"
	"errors"
	"time"

	"golang.org/x/oauth2"
)

// How a refresh token, which can be spent once, is never wasted.
//
// A refresh invalidates the refresh token that was presented and every access
// token that came with it. Whoever receives the answer holds the only live
// tokens in the world; presenting the old refresh token again may end them
// all. So: announce it in the store, spend it once, write the answer before
// anything else, and where the answer is lost find out what happened before
// anybody tries again.
//
//	P0 cached    use a token that was read within a lease       flight.go
//	P1 flight    one per grant in this process                  flight.go
//	P2 find      what is stored decides                         here
//	P3 announce  write an intent by compare-and-swap            here
//	P4 spend     POST exactly once                              here
//	P5 salvage   take the tokens out of whatever was answered   keep.go
//	P6 keep      write them, whatever it takes                  keep.go
//	P7 inDoubt   find out what became of a lost answer          doubt.go
//
// Each step returns the next one; nil ends the flight.
type step func() step

func (f *flight) run() {
	for next := step(f.find); next != nil; {
		next = next()
	}
	for _, rest := range f.after {
		rest()
	}
}

// Reasons of events.
const (
	reasonRevoked        = "revoked"          // terminal
	reasonLostResponse   = "lost_response"    // terminal
	reasonSubChanged     = "sub_changed"      // terminal
	reasonStoreLostWrite = "store_lost_write" // terminal
	reasonNoRefreshToken = "no_refresh_token" // terminal: the grant could never be renewed

	reasonUnavailable   = "unavailable"
	reasonUpstream      = "upstream"
	reasonInvalidClient = "invalid_client"
	reasonDecryptFailed = "decrypt_failed"
	reasonRaceLost      = "race_lost"     // another instance spent the refresh token, as no intent of ours should have let it
	reasonDropped       = "dropped"       // the new tokens came too late: the grant was ended or replaced
	reasonSalvaged      = "salvaged"      // the answer was odd, its tokens are kept
	reasonScopeReduced  = "scope_reduced" // less than was asked for
	reasonUnrotated     = "unrotated"     // no new refresh token came with the answer
	reasonStoreRegress  = "store_regressed"
	reasonMarkLifted    = "mark_lifted" // a grant that was believed lost is alive
)

var (
	errLost      = errors.New("the grant is marked as lost")
	errNoGrant   = errors.New("there is no grant")
	errInDoubt   = errors.New("the answer of a refresh was lost, and it is not known yet whether it took place")
	errForeign   = errors.New("another instance is refreshing")
	errBackedOff = errors.New("after a failure it is too early for another attempt")
)

// find is P2: what is stored decides, and its gen before its status.
func (f *flight) find() step {
	memory, confirmed := f.k.recall() // before the read, so that a store that is behind it has lost a write
	found, err := f.read()
	if err != nil {
		return f.later(reasonOf(err), err)
	}
	f.holding = false
	switch {
	case found && memory != nil && memory.Gen > f.gr.Gen:
		return f.repair(*memory)
	case !found:
		return f.missing(memory, confirmed)
	}
	f.k.remember(f.gr)
	f.k.watch.at(f.gr.Gen)
	f.k.doubt.at(f.gr.Gen)
	if f.gr.Status != grantLive {
		return f.reconnect(errLost)
	}
	if f.adoptable() {
		return f.adopt()
	}
	f.came = cmp.Or(f.came, f.gr.Gen)
	f.cache(f.gr)
	if f.rejected != "" && f.gr.Access == f.rejected && !f.asked && f.r.fresh(f.k, f.gr) {
		return f.ask
	}
	return f.byIntent()
}

// byIntent goes on by what the stored intent says about the refresh token.
func (f *flight) byIntent() step {
	own := f.k.doubt.of(f.gr.Intent)
	switch {
	case f.gr.Intent == nil && f.k.watch.spent:
		f.taker = true
		return f.inDoubt
	case f.gr.Intent == nil:
		f.taker = false
		return f.announce
	case own == nil: // foreign, whatever its owner is called: it may have our name from before a crash
		f.taker = true
		if f.k.watch.foreign(f.gr.Intent.ID) < f.r.lease {
			return f.await
		}
		return f.inDoubt
	case !own.sent && own.attempt == 1:
		f.taker = false
		return f.announce
	default:
		f.taker = own.taker
		f.holding = own.sent
		return f.inDoubt
	}
}

// adoptable reports whether the stored token is what the callers came for:
// fresh, or newer than what they knew.
func (f *flight) adoptable() bool {
	if f.gr.Access == "" || f.gr.Access == f.rejected || f.k.watch.dead || f.r.left(f.gr) <= 0 {
		return false
	}
	newer := f.rejected != "" || f.came != 0 && f.gr.Gen > f.came
	return newer || f.r.fresh(f.k, f.gr) || f.gr.Refresh == ""
}

func (f *flight) adopt() step {
	f.k.failures, f.k.retryAt = 0, time.Time{}
	if gen := f.gr.Gen; f.k.unverified.CompareAndSwap(gen, 0) {
		gr := f.gr
		f.after = append(f.after, func() {
			if f.subChanged(gr) {
				f.markSub(gr.Access)
			}
		})
	}
	return f.land(result{served: f.cache(f.gr)})
}

// ask introspects the rejected token, which is the stored one. If it is active
// the API's 401 was about something else, and a refresh would kill it for
// nothing; if nobody can say, neither.
func (f *flight) ask() step {
	in, err := f.r.introspect(f.ctx, f.gr.Access)
	s := f.cache(f.gr)
	switch {
	case err != nil:
		return f.land(result{served: s, verdict: noAnswer})
	case in.Active:
		return f.land(result{served: s, verdict: active})
	}
	f.asked, f.k.watch.dead = true, true
	return f.find
}

// await leaves another instance's intent alone for a lease, and meanwhile looks
// at the old token for as long as it can tell anything.
func (f *flight) await() step {
	f.offer()
	watched := time.Since(f.k.watch.since)
	poll := max(f.r.settle/256, min(watched, f.r.settle/3))
	if !f.pause(min(poll, f.r.lease-watched)) {
		return f.land(result{err: unavailable(errForeign)})
	}
	if watched >= f.r.settle/16 { // a sibling that is well has finished by then
		f.k.watch.looked(f.r.look(f.ctx, f.gr, f.k.watch.seen), f.r.settle)
	}
	return f.find
}

// repair gives a store that lost a write what this process remembers. An intent
// may be lost with it, so the record gets one of nobody, and everybody leaves
// it alone for a lease.
func (f *flight) repair(memory grant) step {
	if memory.Status == grantLive {
		if f.gr.GrantID != memory.GrantID {
			memory.Dated = false // a refresh of the other grant may have killed our access token, too
		}
		memory.Intent = &intent{ID: randomString(), Attempt: 1, Started: time.Now(), Owner: "nobody"}
		f.cache(memory)
	}
	switch out, err := f.write(memory); out {
	case writeConflict:
		return f.again()
	case writeFailed:
		return f.later(reasonUnavailable, err)
	}
	f.emit(Event{Kind: EventRepaired, Reason: reasonStoreRegress})
	return f.find
}

// missing is a grant that is not stored. It is never repaired, because it may
// have been disconnected longer ago than a tombstone lives. If this process
// has seen it later than that, the store has lost it; the mark makes that one
// event for all instances, and holds no tokens.
func (f *flight) missing(memory *grant, confirmed time.Time) step {
	if memory != nil && memory.Status == grantLive && time.Since(confirmed) < tombstoneLife {
		f.gr, f.version = *memory, ""
		f.gr.Access, f.gr.Refresh = "", ""
		return f.lost(reasonStoreLostWrite)
	}
	return f.reconnect(errNoGrant)
}

func (f *flight) reconnect(cause error) step {
	f.k.cached.Store(nil)
	return f.land(result{err: fail("token", ErrReconnect, cause)})
}

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
	f.clear()
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

// lost marks the grant. The record stays: a late answer may still heal it, and
// a new login replaces it. The one who writes the mark reports the loss.
func (f *flight) lost(reason string) step {
	mark := f.gr
	mark.Status, mark.Reason, mark.Intent = grantReconnect, reason, nil
	ours := map[string]bool{}
	for n := 1; ; n++ {
		version, out, err := f.tryWrite(mark)
		ours[version] = true
		if out == writeConflict {
			// It may be our own mark, the answer to which was lost.
			if _, err = f.read(); err == nil && !ours[f.version] {
				return f.again()
			}
		}
		if out != writeDone && err != nil {
			f.failed(reasonUnavailable, err, time.Time{})
			if !f.pause(f.r.backoff(n)) {
				return f.land(result{err: unavailable(err)})
			}
			continue
		}
		f.holding = false
		f.marked(mark, nil)
		return f.reconnect(errLost)
	}
}

// unrenewable is a grant without a refresh token at the end of its life, which
// token-metadata alone can tell.
func (f *flight) unrenewable() step {
	in, err := f.r.introspect(f.ctx, f.gr.Access)
	switch {
	case err != nil:
		return f.later(reasonUnavailable, err)
	case in.Active && f.gr.Access != f.rejected:
		s := f.cache(f.gr)
		s = f.serveFor(s, f.r.lease)
		return f.land(result{served: s})
	case in.Active:
		return f.land(result{served: f.cache(f.gr), verdict: active})
	}
	return f.lost(reasonNoRefreshToken)
}

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

// read reads the record. A version comes with a record that does not open, too.
func (f *flight) read() (found bool, err error) {
	ctx, cancel := context.WithTimeout(f.ctx, storeTimeout)
	defer cancel()
	gr, version, found, err := f.r.a.grants.find(ctx, f.k.sub)
	if err == nil {
		f.gr, f.version = gr, version
	}
	return found, err
}

func reasonOf(storeErr error) string {
	if errors.Is(storeErr, errUnsealable) {
		return reasonDecryptFailed
	}
	return reasonUnavailable
}

// outcome is what became of a write.
type outcome int

const (
	writeDone outcome = iota
	writeConflict
	writeFailed // as far as is known; it may take place yet
)

// write puts next in place of the record as last read. A write that was not
// acknowledged is recognised by its version.
func (f *flight) write(next grant) (outcome, error) {
	_, out, err := f.tryWrite(next)
	return out, err
}

func (f *flight) tryWrite(next grant) (version string, out outcome, err error) {
	ctx, cancel := context.WithTimeout(f.ctx, storeTimeout)
	defer cancel()
	version, err = f.r.a.grants.commit(ctx, f.version, next)
	if err != nil {
		if errors.Is(err, ErrConflict) {
			return version, writeConflict, err
		}
		again, cancel := context.WithTimeout(f.ctx, storeTimeout)
		defer cancel()
		_, stored, _, findErr := f.r.a.grants.find(again, f.k.sub)
		switch {
		case findErr != nil:
			return version, writeFailed, err
		case stored == version:
		case stored != f.version:
			return version, writeConflict, err
		default:
			return version, writeFailed, err
		}
	}
	f.gr, f.version = next, version
	return version, writeDone, nil
}

// left is how much life the grant's access token has, as far as scheduling is
// concerned, by the server's clock.
func (r *refresher) left(gr grant) time.Duration {
	return gr.Issued.Add(max(gr.ExpiresIn, shortestLife)).Sub(r.a.musixmatch.clock.now())
}

func (r *refresher) fresh(k *keeper, gr grant) bool {
	return r.left(gr) > r.window(max(gr.ExpiresIn, shortestLife), k.early)
}

// cache makes the grant's access token what callers get.
func (f *flight) cache(gr grant) *served {
	s := f.r.serve(f.k, gr)
	if s != nil && f.k.watch.gen == gr.Gen && f.k.watch.dead {
		s.fresh, s.valid = 0, 0
	}
	f.k.show(s, gr.Gen)
	return s
}

// serve prepares the grant's access token for callers; nil if it has none.
func (r *refresher) serve(k *keeper, gr grant) *served {
	if gr.Access == "" {
		return nil
	}
	now, left := r.now(), r.left(gr)
	s := &served{gen: gr.Gen, valid: now + left}
	s.fresh = now + min(r.lease, left-r.window(max(gr.ExpiresIn, shortestLife), k.early))
	if gr.Refresh == "" {
		s.fresh = now + min(r.lease, left)
	}
	if old := k.cached.Load(); old != nil && old.gen == gr.Gen && old.token.AccessToken == gr.Access {
		s.token = old.token
	} else {
		s.token = &oauth2.Token{AccessToken: gr.Access, TokenType: "Bearer", Expiry: time.Now().Add(left)}
	}
	return s
}

// serveFor serves a token for d without another look at the store.
func (f *flight) serveFor(s *served, d time.Duration) *served {
	longer := *s
	longer.fresh = f.r.now() + d
	longer.valid = max(longer.valid, longer.fresh)
	f.k.show(&longer, s.gen)
	return &longer
}

func (f *flight) emit(e Event) {
	e.User = f.r.a.userHash(f.k.sub)
	f.r.a.emit(f.ctx, e)
}

// failed reports a failure that ends nothing.
func (f *flight) failed(reason string, err error, began time.Time) {
	e := Event{Kind: EventRefreshFailed, Reason: reason, Err: err}
	if !began.IsZero() {
		e.Took = time.Since(began)
	}
	f.emit(e)
}
