package grant

import (
	"cmp"
	"errors"
	"time"
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
//	P0 cached    use a token that was read within a lease       manager.go
//	P1 flight    one per grant in this process                  flight.go
//	P2 find      what is stored decides                         here
//	P3 announce  write an intent by compare-and-swap            post.go
//	P4 post      POST exactly once                              post.go
//	P5 salvage   take the tokens out of whatever was answered   commit.go
//	P6 commit    write them, whatever it takes                  commit.go
//	P7 resolve   find out what became of a lost answer          resolve.go
//
// What a failure leads to is in retry.go, what a loss does in loss.go.
//
// Each step returns the next one; nil ends the flight.
type step func() step

func (f *flight) run() {
	defer f.hangUp()
	for next := step(f.find); next != nil; {
		next = next()
	}
	for _, rest := range f.after {
		rest()
	}
}

var (
	errLost      = errors.New("the grant is marked as lost")
	errNoGrant   = errors.New("there is no grant")
	errInDoubt   = errors.New("the answer of a refresh was lost, and it is not known yet whether it took place")
	errForeign   = errors.New("another instance is refreshing")
	errBackedOff = errors.New("after a failure it is too early for another attempt")
)

// find is P2: what is stored decides, and its generation before its status.
func (f *flight) find() step {
	memory, confirmed := f.e.recall() // before the read, so that a store that is behind it has lost a write
	stop := f.offerIfSlow()
	found, err := f.read()
	stop()
	if err != nil {
		return f.later(reasonOf(err), err)
	}
	f.sentIntent = false
	switch {
	case found && memory != nil && memory.Generation > f.gr.Generation:
		return f.repair(*memory)
	case !found:
		return f.missing(memory, confirmed)
	}
	f.e.remember(f.gr, f.m.now())
	f.e.watch.at(f.gr.Generation, f.e.firstSeen())
	f.e.attempts.at(f.gr.Generation)
	if f.gr.Status != statusLive {
		if f.e.attempts.marks[f.version] { // a write of ours that seemed to fail
			f.marked(f.gr, nil)
			f.e.attempts.marks = nil
		}
		return f.reconnect(errLost)
	}
	f.learnTime()
	if f.adoptable() {
		return f.adopt()
	}
	f.startGen = cmp.Or(f.startGen, f.gr.Generation)
	f.cache(f.gr)
	if f.rejected != "" && f.gr.Access == f.rejected && !f.asked && f.m.fresh(f.e, f.gr) {
		return f.ask
	}
	return f.byIntent()
}

// byIntent goes on by what the stored intent says about the refresh token.
func (f *flight) byIntent() step {
	own := f.e.attempts.of(f.gr.Intent)
	switch {
	case f.gr.Intent == nil && f.e.watch.provenSpent:
		f.tookOver = true
		return f.resolve
	case f.gr.Intent == nil:
		f.tookOver = false
		return f.announce
	case own == nil: // foreign, whatever its owner is called: it may have our name from before a crash
		f.tookOver = true
		if f.e.watch.foreign(f.gr.Intent.ID, f.m.now()) < f.m.leaseOf(f.gr.Intent) {
			return f.await
		}
		return f.resolve
	case !own.sent && own.attempt == 1:
		f.tookOver = false
		return f.announce
	default:
		f.tookOver = own.tookOver
		f.sentIntent = own.sent
		return f.resolve
	}
}

// adoptable reports whether the stored token is what the callers came for:
// fresh, or newer than what they knew.
func (f *flight) adoptable() bool {
	if f.gr.Access == "" || f.gr.Access == f.rejected || f.e.watch.dead || f.m.left(f.gr) <= 0 || f.errand.concerns(f.gr) {
		return false
	}
	if f.rejected != "" && f.m.ends(f.gr) <= 0 {
		return false // the API would refuse this one, too
	}
	newer := f.rejected != "" || f.startGen != 0 && f.gr.Generation > f.startGen
	return newer || f.m.fresh(f.e, f.gr) || f.gr.Refresh == ""
}

func (f *flight) adopt() step {
	f.e.succeeded()
	if generation := f.gr.Generation; f.e.unverified.CompareAndSwap(generation, 0) {
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
// nothing; if nobody can say, neither. A connection is dialled meanwhile.
func (f *flight) ask() step {
	f.dialAhead()
	in, err := f.m.introspect(f.ctx, f.gr.Access)
	s := f.cache(f.gr)
	switch {
	case err != nil:
		return f.land(result{served: s, verdict: noAnswer})
	case in.Active:
		f.e.age = 0
		f.e.active.Store(f.gr.Generation)
		return f.land(result{served: s, verdict: active})
	case f.m.newborn(f.e, f.gr, in):
		switch same, next := f.unchanged(); {
		case !same:
			return next
		case f.gr.Intent == nil:
			return f.land(result{served: s, verdict: noAnswer})
		}
		f.asked = true // a refresh is under way, which would kill it
		return f.find
	}
	f.asked, f.e.watch.dead = true, true
	return f.find
}

// soonest is when a waiting instance reads the store for the first time.
const soonest = 5 * time.Millisecond

// await leaves another instance's intent alone for a lease, and meanwhile probes
// the old token for as long as it can tell anything.
func (f *flight) await() step {
	f.offer()
	in := f.gr.Intent
	watched := f.m.now() - f.e.watch.since
	apart := f.m.waitOf(in)
	poll := max(soonest, min(watched/2, apart/3))
	if !f.hold(min(poll, f.m.leaseOf(in)-watched)) {
		return f.land(result{err: unavailable(errForeign)})
	}
	if watched >= f.m.confirmWait/16 { // a sibling that is well has finished by then
		v := f.m.probe(f.ctx, f.gr, f.e.watch.seen)
		f.e.watch.probed(v, f.m.now(), apart)
	}
	return f.find
}
