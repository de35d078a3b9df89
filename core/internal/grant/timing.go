package grant

import (
	"context"
	"crypto/rand"
	"time"
)

const (
	// Patience is how long a caller waits for a token at the most.
	Patience = 10 * time.Second
	// shortestLife is what scheduling makes of an expires_in below it; the 401
	// path corrects the rest.
	shortestLife = 30 * time.Second
	// storeTimeout bounds one call of the store. After slowStore, callers whose
	// token lives wait no longer.
	storeTimeout = 5 * time.Second
	slowStore    = 500 * time.Millisecond
	// longestPause bounds how rarely a doubt is tried again that nothing resolves.
	longestPause = time.Hour
)

// WithPatience returns ctx with a deadline: its own, or the end of [Patience].
func WithPatience(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, Patience, errPatience)
}

// timing holds the waits of the protocol. All follow from Config.RefreshTimeout.
// Instances may differ in it, for instance while a new release is rolled out.
type timing struct {
	refreshTimeout time.Duration // one POST
	intentLease    time.Duration // how long others leave an intent alone
	confirmWait    time.Duration // the silence before every replay and between two probes
	sendBudget     time.Duration // from before the intent is written to the first byte of the POST
}

func timingFrom(refreshTimeout time.Duration) timing {
	intentLease := refreshTimeout * 3 / 2
	confirmWait := intentLease - refreshTimeout
	return timing{refreshTimeout: refreshTimeout, intentLease: intentLease, confirmWait: confirmWait, sendBudget: min(2*time.Second, confirmWait/2)}
}

// leaseOf is how long this process leaves the stored intent alone: as long as
// its writer may need, and as long as we would. The first format had no lease in
// an intent, so such a writer may have any.
func (t timing) leaseOf(in *intent) time.Duration {
	if in.Lease == 0 {
		return 4 * t.intentLease
	}
	return max(t.intentLease, in.Lease)
}

// waitOf is the silence between two probes, and before a replay, where the doubt
// is about the stored intent: nil where it has been cleared.
func (t timing) waitOf(in *intent) time.Duration {
	if in == nil {
		return t.confirmWait
	}
	return max(t.confirmWait, in.Lease/3)
}

// window is how much life must be left in a token that is not refreshed yet.
// A refresh kills the old token, so it comes late; but in time to ask the old
// token, should the answer be lost.
func (t timing) window(life time.Duration, early float64) time.Duration {
	w := min(2*t.intentLease, life/5)
	return w + time.Duration(float64(w)*early)
}

// Schedule returns when a token that was just issued should be renewed, and how
// long it lives, as far as scheduling is concerned.
func (m *Manager) Schedule(expiresIn time.Duration) (due, life time.Duration) {
	life = max(expiresIn, shortestLife)
	return life - m.window(life, jitter()), life
}

// backoff is the wait after the n-th failure in a row: 0.2 s, doubled each
// time, at most confirmWait.
func (t timing) backoff(n int) time.Duration { return grow(n, t.confirmWait) }

// grow is 0.1 s, doubled n times, at most limit, and a random share more.
func grow(n int, limit time.Duration) time.Duration {
	d := min(100*time.Millisecond<<min(n, 16), limit)
	return d + time.Duration(float64(d)*jitter())
}

// jitter returns a random share from 0 to 1/4, by which a wait is enlarged.
// It comes from crypto/rand, which a test can seed with testing/cryptotest.
func jitter() float64 {
	var b [1]byte
	rand.Read(b[:])
	return float64(b[0]) / 1024
}

// now is the process's own monotonic clock. It is never 0, which stands for
// never. No clock is compared across machines.
func (m *Manager) now() time.Duration { return m.clock.Elapsed() + 1 }
