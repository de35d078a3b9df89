package grant

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
	"github.com/mxmconnect/mxmconnect/core/internal/seal"
)

// salvage is P5: the tokens are taken out of the answer however odd the rest of
// it is. What is wrong with the rest is judged when they are stored.
func (f *flight) salvage(t *musixmatch.Tokens, took time.Duration) step {
	if !t.Date.IsZero() {
		f.m.dated.note(t.Date, f.m.now())
	}
	if t.Refresh == "" && (t.Access == "" || !t.Complete) {
		f.failed(ReasonUpstream, t.Defect, took)
		return f.resolve // an answer cut short may have held a refresh token
	}
	mine := f.gr
	mine.Generation, mine.Intent = f.gr.Generation+1, nil
	mine.Access, mine.Issued, mine.ExpiryKnown, mine.ExpiresIn = t.Access, t.Issued, t.ExpiryKnown, t.ExpiresIn
	mine.NotRotated = t.Refresh == "" || t.Refresh == f.gr.Refresh
	if t.Refresh != "" {
		mine.Refresh = t.Refresh
	}
	if t.Scope != "" {
		mine.Scope = t.Scope
	}
	if f.needed() {
		mine.Used = t.Issued
	}
	return f.commit(mine, t, took)
}

// commit is P6: the new tokens, the only live ones in the world, are written,
// however long it takes, whoever wrote an intent meanwhile, and though Manager may
// be closing. Until they are, they are served from memory.
func (f *flight) commit(mine grant, t *musixmatch.Tokens, took time.Duration) step {
	old, received := f.gr, f.m.now()
	lifted := false
	for n := 1; ; n++ {
		f.cache(mine) // the old one is dead: whoever waits no longer gets this
		stop := f.offerIfSlow()
		out, err := f.write(mine)
		stop()
		if out == writeDone {
			return f.publish(old, mine, t, took, lifted)
		}
		if out == writeFailed {
			f.offer()
			f.failed(ReasonUnavailable, err, 0)
			time.Sleep(f.m.backoff(n))
			continue // if it took place after all, the next write will say so
		}
		found, what := f.conflict(old, mine, received)
		switch what {
		case overwrite:
			if lifted = found && f.gr.Status == statusReconnect; lifted {
				mine.Since, mine.Acknowledged = time.Now(), f.gr.lastLoss()
			}
			mine.Generation = max(mine.Generation, f.gr.Generation+1)
			mine.MaxLease = max(mine.MaxLease, f.gr.MaxLease)
		case alreadyStored:
			f.sentIntent = false
			f.concluded(old, mine, t, took, false)
			return f.find
		case adoptStored, drop:
			f.failed(ReasonDropped, nil, took)
			f.sentIntent = false
			f.e.cached.Store(nil)
			if what == drop && found && f.gr.Status == statusDisconnected {
				// Revoked only here: elsewhere it might end a login that replaced this one.
				f.m.server.Revoke(f.ctx, mine.Refresh)
			}
			return f.find
		}
		if n > 3 {
			time.Sleep(f.m.backoff(n - 3))
		}
	}
}

// unopened is for how long new tokens are kept for a record that no key of this
// process opens. Somebody with a newer key has replaced the grant or is at it.
const unopened = 10 // leases

// conflict reads what is stored in place of what mine was to replace, and says
// what becomes of mine.
func (f *flight) conflict(old, mine grant, received time.Duration) (found bool, what disposition) {
	for n := 1; ; n++ {
		found, err := f.read()
		switch {
		case errors.Is(err, seal.ErrUnsealable) && (f.m.live.Err() != nil || f.m.now()-received > unopened*f.m.intentLease):
			return true, adoptStored
		case err != nil:
			time.Sleep(f.m.backoff(n))
			continue
		}
		what = dispositionOf(old.Generation, mine, f.gr, found)
		if what == askServer {
			what = f.whose(mine, received, n)
		}
		if what != readAgain {
			return found, what
		}
	}
}

// disposition is what becomes of new tokens when somebody else has changed the record
// that they were to go to.
type disposition int

const (
	overwrite     disposition = iota // they go over it
	drop                             // the grant was ended or replaced
	alreadyStored                    // they are there
	askServer                        // others are there, and the server must say whose are alive
	adoptStored                      // the others are
	readAgain                        // somebody moved on while it was asked
)

// dispositionOf compares mine, refreshed from the generation old, with what is stored. The
// order counts.
func dispositionOf(old int64, mine, stored grant, found bool) disposition {
	switch {
	case found && stored.Generation < old: // the store has lost a write
		return overwrite
	case !found, stored.Status == statusDisconnected, stored.GrantID != mine.GrantID:
		return drop
	case stored.Access == mine.Access && stored.Refresh == mine.Refresh:
		return alreadyStored
	case stored.Generation > old: // another instance replayed with success, and so did our refresh
		return askServer
	}
	// A mark that came too early; or any intent, or none, on the token that we have
	// spent: whoever took over would wait for us, and we for them, without end.
	return overwrite
}

// whose asks about our new token when another is stored: twice, confirmWait apart.
// A token that another refresh has just killed may still seem active, and one that
// has just been issued may seem inactive.
func (f *flight) whose(mine grant, received time.Duration, n int) disposition {
	if mine.Access == "" {
		return adoptStored
	}
	for last := noVerdict; ; time.Sleep(f.m.confirmWait) {
		in, err := f.m.introspectNow(f.ctx, mine.Access)
		switch {
		case err != nil && f.m.now()-received >= mine.ExpiresIn:
			return adoptStored
		case err != nil:
			time.Sleep(f.m.backoff(n))
			return readAgain
		case in.Active && last == active:
			return overwrite
		case !in.Active && last == inactive:
			return adoptStored
		case in.Active:
			last = active
		default:
			last = inactive
		}
	}
}

// publish serves tokens that have been written.
func (f *flight) publish(old, mine grant, t *musixmatch.Tokens, took time.Duration, lifted bool) step {
	f.e.remember(mine, f.m.now())
	f.e.succeeded()
	if f.asked {
		f.e.age = min(2*f.e.born(f.m.confirmWait), 8*f.m.confirmWait)
	}
	f.sentIntent = false
	f.m.statusChanged(mine)
	f.concluded(old, mine, t, took, lifted)
	s := f.cache(mine)
	if s == nil { // a refresh token was all that could be saved
		return f.later(ReasonUpstream, t.Defect)
	}
	if f.m.left(mine) <= 0 && !f.outlived { // this process was stopped meanwhile
		f.outlived = true
		return f.find
	}
	return f.land(result{served: s})
}

// concluded leaves for the end of the flight what may fail: the strict check of
// the answer, the reports, and the calibration.
func (f *flight) concluded(old, mine grant, t *musixmatch.Tokens, took time.Duration, lifted bool) {
	f.after = append(f.after, func() {
		e := Report{Kind: Refreshed, Took: took}
		switch {
		case t.Defect != nil:
			e.Reason, e.Err = ReasonSalvaged, t.Defect
		case mine.NotRotated:
			e.Reason = ReasonNotRotated
		case t.Scope != "" && !Covers(t.Scope, old.Scope):
			e.Reason = ReasonScopeReduced
		}
		changed := f.subChanged(mine)
		f.tell(e)
		if lifted {
			f.tell(Report{Kind: Repaired, Reason: ReasonMarkLifted})
		}
		if changed {
			f.markSub(mine.Access)
		}
		if !mine.NotRotated {
			f.m.calibrate(f.ctx, old)
		}
	})
}

// Covers reports whether granted names every scope in wanted.
func Covers(granted, wanted string) bool {
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
	in, err := f.m.introspect(f.ctx, mine.Access)
	if err != nil {
		f.e.unverified.Store(mine.Generation)
		return false
	}
	if in.Active {
		f.e.active.Store(mine.Generation)
	}
	return in.Active && in.Sub != mine.Sub
}

// endChanged ends a grant whose tokens have become another user's, however long
// the store takes, and returns when that is done or ctx is.
func (m *Manager) endChanged(ctx context.Context, sub, access string) {
	if !m.begin() {
		return
	}
	e := m.entries.locked(sub)
	e.mu.Unlock()
	f := &flight{m: m, e: e, ctx: context.WithoutCancel(ctx), lastWanted: m.now()}
	ended := make(chan struct{})
	go func() {
		defer m.work.Done()
		defer close(ended)
		f.markSub(access)
	}()
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}

func (f *flight) markSub(access string) {
	f.e.cached.Store(nil)
	ours := map[string]bool{}
	for n := 1; ; n++ {
		found, err := f.read()
		if err == nil && ours[f.version] { // written, and the answer was lost
			f.marked(f.gr, errSubChanged)
			return
		}
		if err == nil && (!found || f.gr.Access != access || f.gr.Status != statusLive) {
			return // they are not stored any more
		}
		if err == nil {
			mark := f.mark(ReasonSubChanged)
			version, out, _ := f.tryWrite(mark)
			if out == writeDone {
				f.marked(mark, errSubChanged)
				return
			}
			ours[version] = true
		}
		if !f.hold(f.m.backoff(n)) {
			return
		}
	}
}

// marked takes note of a mark that was written here.
func (f *flight) marked(mark grant, cause error) {
	f.e.remember(mark, f.m.now())
	f.e.cached.Store(nil)
	f.m.statusChanged(mark)
	f.tell(Report{Kind: Lost, Reason: mark.Reason, Err: cause})
}

var errSubChanged = errors.New("a refresh returned the tokens of another user")
