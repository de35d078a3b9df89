package grant

import (
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/seal"
)

// repair gives a store that lost a write what this process remembers. An intent
// may be lost with it, so the record gets one of nobody, and everybody leaves
// it alone for the longest lease that anybody ever had here.
func (f *flight) repair(memory grant) step {
	if memory.Status == statusLive {
		if f.gr.GrantID != memory.GrantID {
			memory.ExpiryKnown = false // a refresh of the other grant may have killed our access token, too
		}
		memory.MaxLease = max(memory.MaxLease, f.gr.MaxLease, f.m.intentLease)
		memory.Intent = &intent{ID: seal.RandomString(), Attempt: 1, Started: time.Now(), Owner: "nobody", Lease: memory.MaxLease}
		f.cache(memory)
	}
	switch out, err := f.write(memory); out {
	case writeConflict:
		return f.again()
	case writeFailed:
		return f.later(ReasonUnavailable, err)
	}
	f.tell(Report{Kind: Repaired, Reason: ReasonStoreRegress})
	return f.find
}

// missing is a grant that is not stored. It is never repaired, because it may
// have been disconnected longer ago than a tombstone lives. If this process
// has seen it later than that, the store has lost it; the mark makes that one
// event for all instances, and holds no tokens.
func (f *flight) missing(memory *grant, confirmed time.Duration) step {
	if memory != nil && memory.Status == statusLive && f.m.now()-confirmed < tombstoneLife {
		f.gr, f.version = *memory, ""
		f.gr.Access, f.gr.Refresh = "", ""
		return f.markLost(ReasonStoreLostWrite)
	}
	return f.reconnect(errNoGrant)
}

func (f *flight) reconnect(cause error) step {
	f.e.cached.Store(nil)
	return f.land(result{err: &Failure{Reconnect, cause}})
}

// mark returns the record at hand, marked as lost.
func (f *flight) mark(reason string) grant {
	mark := f.gr
	mark.Status, mark.Reason, mark.Intent, mark.Since = statusReconnect, reason, nil, time.Now()
	return mark
}

// markLost marks the grant. The record stays: a late answer may still heal it,
// and a new login replaces it. The one who writes the mark reports the loss.
func (f *flight) markLost(reason string) step {
	mark := f.mark(reason)
	for n := 1; ; n++ {
		version, out, err := f.tryWrite(mark)
		switch out {
		case writeDone:
			f.sentIntent = false
			f.marked(mark, nil)
			return f.reconnect(errLost)
		case writeConflict:
			return f.again()
		}
		f.e.attempts.wroteMark(version)
		f.failed(ReasonUnavailable, err, 0)
		if !f.hold(f.m.backoff(n)) {
			return f.land(result{err: unavailable(err)})
		}
	}
}

// unrenewable is a grant without a refresh token at the end of its life, which
// token-metadata alone can tell: by two probes, as of any other grant, unless the
// server's clock says that the end has long come.
func (f *flight) unrenewable() step {
	for once := false; ; once = true {
		in, err := f.m.introspect(f.ctx, f.gr.Access)
		switch {
		case err != nil:
			return f.later(ReasonUnavailable, err)
		case in.Active && f.gr.Access != f.rejected:
			return f.land(result{served: f.serveFor(f.cache(f.gr), f.m.intentLease)})
		case in.Active:
			return f.land(result{served: f.cache(f.gr), verdict: active})
		case once, f.gr.ExpiryKnown && in.Dated && in.Date.After(f.gr.Issued.Add(f.gr.ExpiresIn+f.m.confirmWait)):
			return f.markLost(ReasonNoRefreshToken)
		}
		if !f.hold(f.m.confirmWait) {
			return f.land(result{err: unavailable(errInDoubt)})
		}
		if same, next := f.unchanged(); !same {
			return next
		}
	}
}
