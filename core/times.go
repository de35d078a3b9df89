package core

import (
	"crypto/rand"
	"time"
)

const (
	// patience is how long a caller without a deadline waits for a token.
	patience = 10 * time.Second
	// shortestLife is what scheduling makes of an expires_in below it; the 401
	// path corrects the rest.
	shortestLife = 30 * time.Second
	// storeTimeout bounds one call of the GrantStore.
	storeTimeout = 5 * time.Second
)

// times are the waits of the refresh protocol. All follow from
// Config.RefreshTimeout, so that all instances agree on them.
type times struct {
	post   time.Duration // one POST
	lease  time.Duration // how long others leave an intent alone
	settle time.Duration // the silence before every replay and between two looks at the oracle
	budget time.Duration // from before the intent is written to the first byte of the POST
}

func timesFrom(refreshTimeout time.Duration) times {
	lease := refreshTimeout * 3 / 2
	settle := lease - refreshTimeout
	return times{post: refreshTimeout, lease: lease, settle: settle, budget: min(2*time.Second, settle/2)}
}

// inBudget reports whether what began at began may still send. Both clocks are
// asked: the monotonic one may stand still while the machine is paused, and the
// wall clock may be set back.
func (t times) inBudget(began time.Time) bool {
	now := time.Now()
	return now.Sub(began) <= t.budget && now.Round(0).Sub(began.Round(0)) <= t.budget
}

// window is how much life must be left in a token that is not refreshed yet.
// A refresh kills the old token, so it comes late; but in time to ask the old
// token, should the answer be lost.
func (t times) window(life time.Duration, early float64) time.Duration {
	w := min(2*t.lease, life/5)
	return w + time.Duration(float64(w)*early)
}

// backoff is the wait after the n-th failure in a row: 0.2 s, doubled each
// time, at most a settle.
func (t times) backoff(n int) time.Duration {
	d := min(100*time.Millisecond<<min(n, 12), t.settle)
	return d + time.Duration(float64(d)*jitter())
}

// jitter returns a random share from 0 to 1/4, by which a wait is enlarged.
// It comes from crypto/rand, which a test can seed with testing/cryptotest.
func jitter() float64 {
	var b [1]byte
	rand.Read(b[:])
	return float64(b[0]) / 1024
}
