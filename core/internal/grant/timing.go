package grant

import (
	"crypto/rand"
	"time"
)

const (
	// Patience is how long a caller without a deadline waits for a token.
	Patience = 10 * time.Second
	// shortestLife is what scheduling makes of an expires_in below it; the 401
	// path corrects the rest.
	shortestLife = 30 * time.Second
	// storeTimeout bounds one call of the GrantStore.
	storeTimeout = 5 * time.Second
)

// times are the waits of the refresh protocol. All follow from
// Config.RefreshTimeout, so that all instances agree on them.
type timing struct {
	refreshTimeout time.Duration // one POST
	intentLease    time.Duration // how long others leave an intent alone
	confirmWait    time.Duration // the silence before every replay and between two looks at the oracle
	sendBudget     time.Duration // from before the intent is written to the first byte of the POST
}

func timingFrom(refreshTimeout time.Duration) timing {
	intentLease := refreshTimeout * 3 / 2
	confirmWait := intentLease - refreshTimeout
	return timing{refreshTimeout: refreshTimeout, intentLease: intentLease, confirmWait: confirmWait, sendBudget: min(2*time.Second, confirmWait/2)}
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
// time, at most a settle.
func (t timing) backoff(n int) time.Duration {
	d := min(100*time.Millisecond<<min(n, 12), t.confirmWait)
	return d + time.Duration(float64(d)*jitter())
}

// jitter returns a random share from 0 to 1/4, by which a wait is enlarged.
// It comes from crypto/rand, which a test can seed with testing/cryptotest.
func jitter() float64 {
	var b [1]byte
	rand.Read(b[:])
	return float64(b[0]) / 1024
}
