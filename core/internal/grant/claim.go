package grant

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/seal"
)

// One instance sweeps at a time: the holder of the claim, a record of this client
// at this server. The claim also says how far the sweep has come and what it has
// found, so that another instance can go on.

const (
	claimPrefix  = "maintain_"
	claimPurpose = "maintain"
	// claimLease is how long the others leave a claim alone that does not change.
	// Each measures that on its own clock.
	claimLease = time.Minute
)

// claim is the plain content of the record.
type claim struct {
	Holder string `json:"holder,omitempty"` // random for each holder; "": nobody sweeps
	Cursor string `json:"cursor,omitempty"` // of the page that is to be read next
	Done   bool   `json:"done,omitempty"`   // the sweep has ended
	Sweep  Sweep  `json:"sweep"`            // found up to Cursor
}

// claimant is one instance's view of the claim.
type claimant struct {
	m  *Manager
	id string

	mu      sync.Mutex
	claim   claim
	version string
	since   time.Duration // when this version was first seen here, or, if it is ours, when its write began
}

func (c *claimant) key() string { return claimPrefix + c.m.records.key("")[len(keyPrefix):] }

// look reads the claim and returns how long it is not ours to take. every is the
// time between the beginnings of two sweeps.
func (c *claimant) look(ctx context.Context, every time.Duration) (wait time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	rec, found, err := c.m.records.load(ctx, c.key())
	if err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.m.now()
	if !found {
		c.claim, c.version = claim{Done: true}, ""
		return 0, nil
	}
	if rec.Version != c.version {
		c.version, c.since = rec.Version, now
		if c.claim, err = c.open(rec); err != nil {
			c.claim = claim{Holder: "unknown"} // to be watched, and then replaced
		}
	}
	watched := now - c.since
	switch {
	case c.claim.Holder != "":
		return claimLease - watched, nil
	case !c.claim.Done:
		return 0, nil
	}
	// Another machine's clock may be wrong: it costs one wait at the most.
	due := time.Until(c.claim.Sweep.Started.Add(every))
	return min(due, every-watched), nil
}

func (c *claimant) open(rec Record) (cl claim, err error) {
	plain, err := c.m.records.keys.Open(claimPurpose, c.key(), rec.Data)
	if err != nil {
		return claim{}, err
	}
	err = json.Unmarshal(plain, &cl)
	return cl, err
}

// take makes the claim ours, and reports whether that succeeded. A sweep that
// has not ended goes on where it is.
func (c *claimant) take(ctx context.Context) bool {
	return c.write(ctx, func(cl *claim) {
		if cl.Done || cl.Sweep.Started.IsZero() {
			*cl = claim{Sweep: Sweep{Started: time.Now()}}
		}
		cl.Holder = c.id
	}) == nil
}

// release leaves the sweep to whoever comes first.
func (c *claimant) release() {
	_ = c.write(context.Background(), func(cl *claim) { cl.Holder = "" }) // if not, the others wait for a lease
}

// errClaimLost is the error where another instance sweeps.
var errClaimLost = errors.New("another instance has taken over the sweep")

// write changes the claim as last seen.
func (c *claimant) write(ctx context.Context, change func(*claim)) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	next := c.claim
	change(&next)
	plain, err := json.Marshal(next)
	if err != nil {
		return err
	}
	began := c.m.now()
	rec := Record{Data: c.m.records.keys.Seal(claimPurpose, c.key(), plain), Version: seal.RandomString()}
	err = c.m.records.save(ctx, c.key(), c.version, rec)
	if errors.Is(err, ErrConflict) && c.wroteAnother(ctx) {
		err = c.m.records.save(ctx, c.key(), c.version, rec)
	}
	if errors.Is(err, ErrConflict) {
		return errClaimLost
	}
	if err == nil {
		c.claim, c.version, c.since = next, rec.Version, began
	}
	return err
}

// wroteAnother reports whether the claim is ours after all: the answer to an
// earlier write was lost. Its version is then the one to replace.
func (c *claimant) wroteAnother(ctx context.Context) bool {
	rec, found, err := c.m.records.load(ctx, c.key())
	if err != nil || !found {
		return false
	}
	stored, err := c.open(rec)
	if err != nil || stored.Holder != c.id {
		return false
	}
	c.version = rec.Version
	return true
}

// hold renews the claim until ctx is done. lost is called when it is not ours any
// more, as far as we can know.
func (c *claimant) hold(ctx context.Context, lost func()) {
	t := time.NewTicker(claimLease / 4)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		err := c.write(ctx, func(*claim) {})
		c.mu.Lock()
		old := c.m.now()-c.since >= claimLease
		c.mu.Unlock()
		if errors.Is(err, errClaimLost) || err != nil && old {
			lost()
			return
		}
	}
}
