package core

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

// salvage is P5: the tokens are taken out of the answer however odd the rest of
// it is. What is wrong with the rest is looked at when they are written.
func (f *flight) salvage(t *tokens, began time.Time) step {
	if t.Refresh == "" && (t.Access == "" || !t.Whole) {
		f.failed(reasonUpstream, t.Defect, began)
		return f.inDoubt // an answer cut short may have held a refresh token
	}
	mine := f.gr
	mine.Gen, mine.Intent = f.gr.Gen+1, nil
	mine.Access, mine.Issued, mine.Dated, mine.ExpiresIn = t.Access, t.Issued, t.Dated, t.ExpiresIn
	mine.Unrotated = t.Refresh == "" || t.Refresh == f.gr.Refresh
	if t.Refresh != "" {
		mine.Refresh = t.Refresh
	}
	if t.Scope != "" {
		mine.Scope = t.Scope
	}
	return f.keep(mine, t, began)
}

// keep is P6: the new tokens, the only live ones in the world, are written,
// however long it takes, whoever wrote an intent meanwhile, and though Auth may be
// closing. Until they are, they are served from memory.
func (f *flight) keep(mine grant, t *tokens, began time.Time) step {
	old, received := f.gr, time.Now()
	lifted := false
	for n := 1; ; n++ {
		out, err := f.write(mine)
		if out == writeDone {
			return f.publish(old, mine, t, began, lifted)
		}
		if out == writeFailed {
			f.cache(mine)
			f.offer()
			f.r.a.work.Go(func() { f.failed(reasonUnavailable, err, time.Time{}) }) // beside it: OnEvent may hang on the same outage
			time.Sleep(f.r.backoff(n))
			continue // if it took place after all, the next write will say so
		}
		var found bool
		claim := claimReread
		for claim == claimReread {
			if found, err = f.read(); err != nil {
				time.Sleep(f.r.backoff(n))
			} else if claim = claimOf(old.Gen, mine, f.gr, found); claim == claimAsk {
				claim = f.whose(mine, received, n)
			}
		}
		switch claim {
		case claimOver:
			lifted = found && f.gr.Status == grantReconnect
			mine.Gen = max(mine.Gen, f.gr.Gen+1)
		case claimDone:
			f.holding = false
			f.concluded(old, mine, t, began, false)
			return f.find
		case claimAdopt:
			f.failed(reasonDropped, nil, began)
			f.holding = false
			f.k.cached.Store(nil)
			return f.find
		case claimDrop:
			f.failed(reasonDropped, nil, began)
			f.holding = false
			f.k.cached.Store(nil)
			if found && f.gr.Status == grantDisconnected {
				// Revoked only here: elsewhere it might end a login that replaced this one.
				f.r.a.musixmatch.revoke(f.ctx, mine.Refresh)
			}
			return f.find
		}
		if n > 3 {
			time.Sleep(f.r.backoff(n - 3))
		}
	}
}

// claim is what becomes of new tokens when somebody else has changed the record
// that they were to go to.
type claim int

const (
	claimOver   claim = iota // they go over it
	claimDrop                // the grant was ended or replaced
	claimDone                // they are there
	claimAsk                 // others are there, and the server must say whose are alive
	claimAdopt               // the others are
	claimReread              // somebody moved on while it was asked
)

// claimOf compares mine, refreshed from the gen old, with what is stored. The
// order counts.
func claimOf(old int64, mine, stored grant, found bool) claim {
	switch {
	case found && stored.Gen < old: // the store has lost a write
		return claimOver
	case !found, stored.Status == grantDisconnected, stored.GrantID != mine.GrantID:
		return claimDrop
	case stored.Access == mine.Access && stored.Refresh == mine.Refresh:
		return claimDone
	case stored.Gen > old: // a taker's replay succeeded, and so did our refresh
		return claimAsk
	}
	// A mark that came too early; or any intent, or none, on the token that we
	// have spent: waiting for a taker to finish with it would be for ever.
	return claimOver
}

// whose asks about our new token when another is stored: twice, a settle apart,
// because a token that a sibling's refresh has just killed may look alive, and
// one that has just been issued may look dead.
func (f *flight) whose(mine grant, received time.Time, n int) claim {
	if mine.Access == "" {
		return claimAdopt
	}
	for last := noVerdict; ; time.Sleep(f.r.settle) {
		in, err := f.r.introspect(f.ctx, mine.Access)
		switch {
		case err != nil && time.Since(received) >= mine.ExpiresIn:
			return claimAdopt
		case err != nil:
			time.Sleep(f.r.backoff(n))
			return claimReread
		case in.Active && last == active:
			return claimOver
		case !in.Active && last == inactive:
			return claimAdopt
		case in.Active:
			last = active
		default:
			last = inactive
		}
	}
}

// publish serves tokens that have been written.
func (f *flight) publish(old, mine grant, t *tokens, began time.Time, lifted bool) step {
	f.k.remember(mine)
	f.k.failures, f.k.retryAt = 0, time.Time{}
	f.holding = false
	f.concluded(old, mine, t, began, lifted)
	s := f.cache(mine)
	if s == nil { // a refresh token was all that could be saved
		return f.later(reasonUpstream, t.Defect)
	}
	return f.land(result{served: s})
}

// concluded leaves for the end of the flight what may fail: the strict look at
// the answer, the events, and the first test of the oracle.
func (f *flight) concluded(old, mine grant, t *tokens, began time.Time, lifted bool) {
	took := time.Since(began)
	f.after = append(f.after, func() {
		e := Event{Kind: EventRefresh, Took: took}
		switch {
		case t.Defect != nil:
			e.Reason, e.Err = reasonSalvaged, t.Defect
		case mine.Unrotated:
			e.Reason = reasonUnrotated
		case t.Scope != "" && !covers(t.Scope, old.Scope):
			e.Reason = reasonScopeReduced
		}
		changed := f.subChanged(mine)
		f.emit(e)
		if lifted {
			f.emit(Event{Kind: EventRepaired, Reason: reasonMarkLifted})
		}
		if changed {
			f.markSub(mine.Access)
		}
		if !mine.Unrotated {
			f.r.calibrate(old)
		}
	})
}

func covers(granted, wanted string) bool {
	have := strings.Fields(granted)
	for _, s := range strings.Fields(wanted) {
		if !slices.Contains(have, s) {
			return false
		}
	}
	return true
}

// subChanged asks whose the new token is. No answer changes nothing: the sub
// that was verified last stands, and the next flight asks again.
func (f *flight) subChanged(mine grant) bool {
	if mine.Access == "" || isImport(mine.Sub) {
		return false
	}
	in, err := f.r.introspect(f.ctx, mine.Access)
	if err != nil {
		f.k.unverified.Store(mine.Gen)
		return false
	}
	return in.Active && in.Sub != mine.Sub
}

// endChanged ends a grant whose tokens have become another user's, however long
// the store takes, and returns when that is done or ctx is.
func (r *refresher) endChanged(ctx context.Context, sub, access string) {
	if !r.a.begin() {
		return
	}
	k := r.keepers.locked(sub)
	k.mu.Unlock()
	f := &flight{r: r, k: k, ctx: context.WithoutCancel(ctx)}
	ended := make(chan struct{})
	go func() {
		defer r.a.work.Done()
		defer close(ended)
		f.markSub(access)
	}()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

func (f *flight) markSub(access string) {
	f.k.cached.Store(nil)
	ours := map[string]bool{}
	for n := 1; ; n++ {
		found, err := f.read()
		if err == nil && ours[f.version] { // written, and the answer was lost
			f.marked(f.gr, errSubChanged)
			return
		}
		if err == nil && (!found || f.gr.Access != access || f.gr.Status != grantLive) {
			return // they are not stored any more
		}
		if err == nil {
			mark := f.gr
			mark.Status, mark.Reason, mark.Intent = grantReconnect, reasonSubChanged, nil
			version, out, _ := f.tryWrite(mark)
			if out == writeDone {
				f.marked(mark, errSubChanged)
				return
			}
			ours[version] = true
		}
		if !f.pause(f.r.backoff(n)) {
			return
		}
	}
}

// marked takes note of a mark that was written here.
func (f *flight) marked(mark grant, cause error) {
	f.k.remember(mark)
	f.k.cached.Store(nil)
	f.emit(Event{Kind: EventReconnect, Reason: mark.Reason, Err: cause})
}

var errSubChanged = errors.New("a refresh returned the tokens of another user")
