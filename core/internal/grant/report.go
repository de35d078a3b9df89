package grant

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/recovery"
)

// Kind is what a [Report] is about.
type Kind int

// The kinds of reports.
const (
	Refreshed     Kind = iota // new tokens are stored
	RefreshFailed             // the grant is alive; a later attempt may succeed
	Lost                      // the grant is lost: one report for each loss
	Repaired                  // a store that had lost a write was given it back
	Uncalibrated              // the server leaves old access tokens active: what became of a lost answer cannot be found out
)

// Report is one thing that happened to a grant.
type Report struct {
	Kind   Kind
	Reason string // one of the constants below, or empty
	Sub    string
	Took   time.Duration
	Err    error
}

// Reasons of reports. The first five say why a grant is lost.
const (
	ReasonRevoked        = "revoked"
	ReasonLostResponse   = "lost_response"
	ReasonSubChanged     = "sub_changed"
	ReasonStoreLostWrite = "store_lost_write"
	ReasonNoRefreshToken = "no_refresh_token"

	ReasonUnavailable   = "unavailable"
	ReasonUpstream      = "upstream"
	ReasonInvalidClient = "invalid_client"
	ReasonDecryptFailed = "decrypt_failed"
	ReasonRaceLost      = "race_lost"       // another instance spent the refresh token, as no intent of ours should have let it
	ReasonDropped       = "dropped"         // the new tokens came too late: the grant was ended or replaced
	ReasonSalvaged      = "salvaged"        // the answer was odd, its tokens are kept
	ReasonScopeReduced  = "scope_reduced"   // less than was asked for
	ReasonNotRotated    = "unrotated"       // no new refresh token came with the answer
	ReasonStoreRegress  = "store_regressed" // the store had an older record than this process
	ReasonMarkLifted    = "mark_lifted"     // a grant that was believed lost is alive
)

// reports hands reports on, one after the other and in order. Whoever takes them
// may be slow, panic, end its goroutine, or ask for the token that the report is about.
type reports struct {
	mu      sync.Mutex
	waiting []func()
	running bool
	idle    chan struct{} // closed when nothing is left
}

// maxReports bounds what a taker that hangs makes us keep. Reports of a grant
// that is alive go first.
const maxReports = 4096

// add hands a report on, and waits a moment for it to be taken.
func (q *reports) add(take func(), essential bool) {
	q.mu.Lock()
	if len(q.waiting) >= maxReports && !essential {
		q.mu.Unlock()
		return
	}
	taken := make(chan struct{})
	q.waiting = append(q.waiting, func() {
		defer close(taken)
		var err error
		defer recovery.Catch(&err)
		take()
	})
	if !q.running {
		q.running, q.idle = true, make(chan struct{})
		go q.run()
	}
	q.mu.Unlock()
	moment := time.NewTimer(nearby)
	defer moment.Stop()
	select {
	case <-taken:
	case <-moment.C:
	}
}

func (q *reports) run() {
	ended := true
	defer func() {
		if ended { // by runtime.Goexit in who takes a report
			go q.run()
		}
	}()
	for {
		q.mu.Lock()
		if len(q.waiting) == 0 {
			q.running, ended = false, false
			close(q.idle)
			q.mu.Unlock()
			return
		}
		take := q.waiting[0]
		q.waiting = q.waiting[1:]
		q.mu.Unlock()
		take()
	}
}

// flush waits until all reports are taken: a second at most, for a taker that hangs.
func (q *reports) flush(ctx context.Context) {
	q.mu.Lock()
	running, idle := q.running, q.idle
	q.mu.Unlock()
	if !running {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

// Tell calls take after what was reported before, on another goroutine. It waits a
// moment for it.
func (m *Manager) Tell(take func()) { m.reports.add(take, false) }

func (m *Manager) tell(ctx context.Context, r Report) {
	m.reports.add(func() { m.report(ctx, r) }, r.Kind == Lost || r.Kind == Repaired)
}

func (f *flight) tell(r Report) {
	r.Sub = f.e.sub
	f.m.tell(f.ctx, r)
}

// Failure is why there is no token. It is every error that this package returns.
type Failure struct {
	Outcome Outcome
	Err     error
}

// Outcome is what a caller can do about a [Failure].
type Outcome int

// The outcomes.
const (
	Unavailable Outcome = iota // try again later
	Reconnect                  // there is no grant, or it is lost: the user must sign in again
	Upstream                   // the server refuses for a reason that waiting does not change
	BadRequest                 // what the caller gave is malformed
)

// Error implements error.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

func unavailable(cause error) error { return &Failure{Unavailable, cause} }

// outcomeOf is the outcome of an error of this package.
func outcomeOf(err error) Outcome {
	var f *Failure
	if errors.As(err, &f) {
		return f.Outcome
	}
	return Unavailable
}
