package simulation_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/grant"
	"github.com/mxmconnect/mxmconnect/core/internal/seal"
)

var (
	errStoreDown = errors.New("store: connection refused")
	errReadOnly  = errors.New("store: read-only")
	errTimeout   = errors.New("store: timeout")
)

// store is the database that all instances share. Guarded by w.mu.
type store struct {
	w     *world
	slots map[string]*slot
}

// slot is the history of one key; the last record is what it holds.
type slot struct {
	user    *user // nil: not a user's grant
	place   int
	history []held
	writes  int
	lost    bool // the store has forgotten something here
}

type held struct {
	record  grant.Record
	content content
	found   bool
}

// content is what the simulation reads in a sealed record.
type content struct {
	Sub     string
	Gen     int64
	GrantID string `json:"grant_id"`
	Access  string
	Refresh string
	Status  string
	Reason  string

	Dated     bool // the natural end of Access is known
	Unrotated bool
	Intent    *struct {
		ID      string
		Attempt int
	}

	coin *coin // of Refresh
}

var keyring = func() seal.Keyring {
	ring, err := seal.New([][]byte{[]byte("a key for the simulation alone!!"), []byte("the key which was in use before.")})
	if err != nil {
		panic(err)
	}
	return ring
}()

// open reads a record once, when it is written.
func (w *world) open(key string, r grant.Record) (c content) {
	plain, err := keyring.Open("grant", key, r.Data)
	if err != nil || json.Unmarshal(plain, &c) != nil {
		panic("a record of another kind")
	}
	c.coin = w.coins[c.Refresh]
	return c
}

func (s *store) slot(key string) *slot {
	sl := s.slots[key]
	if sl == nil {
		sl = &slot{place: -1, history: []held{{}}}
		s.slots[key] = sl
	}
	return sl
}

func (sl *slot) now() *held {
	h := &sl.history[len(sl.history)-1]
	if h.found && !h.record.Expiry.IsZero() && !time.Now().Before(h.record.Expiry) {
		return &held{}
	}
	return h
}

// storeClient is the store as one process reaches it.
type storeClient struct {
	p *process
	s *store
}

// enter is the way to the store. It returns the failure that the call meets.
func (c *storeClient) enter(ctx context.Context, k kind, place int) error {
	w := c.p.w
	c.p.mustLive(c.p.reach(k, place))
	w.mu.Lock()
	d := w.roll("store", int(k), c.p.index, c.p.life, place, c.p.steps[step{k, place}])
	latency := d.between(200*time.Microsecond, 8*time.Millisecond)
	if w.faults && d.chance(w.profile.slowStore) {
		w.count("store: slow")
		latency = d.between(time.Second, 50*time.Second)
		w.log(c.p, "store %s takes %s", k, latency)
	}
	down := w.down(c.p, false)
	w.mu.Unlock()
	if down {
		latency = d.between(time.Millisecond, 3*time.Second)
		if w.profile.hangs {
			latency = time.Minute
		}
	}
	if err := sleep(ctx, latency); err != nil {
		return err
	}
	if down {
		return errStoreDown
	}
	return nil
}

// FindGrant implements grant.Store.
func (c *storeClient) FindGrant(ctx context.Context, key string) (grant.Record, bool, error) {
	w := c.p.w
	w.mu.Lock()
	place := c.s.slot(key).place
	w.mu.Unlock()
	if err := c.enter(ctx, find, place); err != nil {
		return grant.Record{}, false, err
	}
	w.mu.Lock()
	h := *c.s.slot(key).now()
	w.mu.Unlock()
	c.p.mustLive(c.p.reach(found, place))
	return h.record, h.found, nil
}

// CommitGrant implements grant.Store.
func (c *storeClient) CommitGrant(ctx context.Context, key, old string, r grant.Record) error {
	w := c.p.w
	if c.p.old {
		r.Data = forget(key, r.Data)
	}
	w.mu.Lock()
	w.commits(c.p)
	next := w.open(key, r)
	sl := c.s.slot(key)
	if sl.place < 0 {
		sl.user, sl.place = w.byID[next.Sub], 100
		if sl.user != nil {
			sl.place, sl.user.slot = sl.user.index, sl
		}
	}
	place := sl.place
	n := sl.writes
	sl.writes++
	w.mu.Unlock()

	d := w.roll("commit", c.p.index, c.p.life, place, n)
	err := c.enter(ctx, commit, place)
	fails := func(rate float64) bool { return rate > 0 && w.faulty() && d.chance(rate) }
	switch {
	case err != nil && fails(0.3): // it gave up waiting; the write did not
		w.note(c.p, "store: late", "its write is on its way")
		c.late(key, old, r, next, d.between(10*time.Millisecond, 40*time.Second))
		return err
	case err != nil:
		return err
	case c.readOnly() && w.profile.conflicts:
		return grant.ErrConflict
	case c.readOnly():
		return errReadOnly
	case fails(w.profile.failWrite):
		w.note(c.p, "store: fails", "write of %s fails", next)
		return errTimeout
	case fails(w.profile.lateWrite):
		w.note(c.p, "store: late", "write of %s will land late", next)
		c.late(key, old, r, next, d.between(10*time.Millisecond, 60*time.Second))
		return errTimeout
	}
	err = c.apply(key, old, r, next)
	if err == nil && fails(w.profile.ambiguous) {
		w.note(c.p, "store: ambiguous", "the answer to its write is lost")
		err = errTimeout
	}
	if slow := w.profile.slowStore; err == nil && fails(slow) {
		w.note(c.p, "store: slow answer", "the answer to its write is slow")
		if ctxErr := sleep(ctx, d.between(time.Second, 60*time.Second)); ctxErr != nil {
			err = ctxErr
		}
	}
	c.p.mustLive(c.p.reach(committed, place))
	return err
}

func (c *storeClient) readOnly() bool {
	c.p.w.mu.Lock()
	defer c.p.w.mu.Unlock()
	return c.p.w.down(c.p, true)
}

// members is what the first edition of the protocol writes.
var members = []string{
	"base_url", "client_id", "sub", "gen", "grant_id", "access", "refresh", "scope", "issued", "dated", "expires_in",
	"status", "reason", "unrotated", "intent", "moved_to",
}

// forget rewrites a record as an instance of an older release does, which drops
// the members that it does not know.
func forget(key string, data []byte) []byte {
	plain, err := keyring.Open("grant", key, data)
	var record, intent map[string]json.RawMessage
	if err != nil || json.Unmarshal(plain, &record) != nil {
		panic("a record of another kind")
	}
	maps.DeleteFunc(record, func(name string, _ json.RawMessage) bool { return !slices.Contains(members, name) })
	if raw, ok := record["intent"]; ok && json.Unmarshal(raw, &intent) == nil {
		maps.DeleteFunc(intent, func(name string, _ json.RawMessage) bool {
			return !slices.Contains([]string{"id", "attempt", "started", "owner"}, name)
		})
		record["intent"], _ = json.Marshal(intent)
	}
	plain, _ = json.Marshal(record)
	return keyring.Seal("grant", key, plain)
}

func (c *storeClient) late(key, old string, r grant.Record, next content, after time.Duration) {
	c.p.w.background.Go(func() {
		time.Sleep(after)
		_ = c.apply(key, old, r, next)
	})
}

// apply is the compare-and-swap.
func (c *storeClient) apply(key, old string, r grant.Record, next content) error {
	w := c.p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	sl := c.s.slot(key)
	before := sl.now().content
	if sl.now().record.Version != old {
		w.log(c.p, "conflict: %s, stored is %s", next, before)
		return grant.ErrConflict
	}
	sl.history = append(sl.history, held{r, next, true})
	w.log(c.p, "stores %s", next)
	if sl.user != nil {
		w.written(c.p, sl, before, next)
		w.maybeLose(sl)
	}
	return nil
}

// maybeLose lets the store forget, now or soon, what it has acknowledged, as a
// failover does. w.mu is held.
func (w *world) maybeLose(sl *slot) {
	if !w.faults || w.profile.loseWrite == 0 {
		return
	}
	d := w.roll("lose", sl.place, sl.writes)
	if n := len(sl.history); w.profile.strict && (n < 2 || sl.history[n-1].content.GrantID == sl.history[n-2].content.GrantID) {
		return // only logins are lost
	}
	if !d.chance(w.profile.loseWrite) || w.losses >= 2 {
		return
	}
	w.losses++
	after := pick(d, 0, 500*time.Millisecond, 20*time.Second, 2*time.Minute)
	after = d.between(after/2, after+time.Millisecond)
	back := 1 + d.n(2)
	if w.profile.strict {
		back = 1
	}
	vanish := d.chance(0.1) && !w.profile.strict
	w.background.Go(func() {
		time.Sleep(after)
		w.mu.Lock()
		defer w.mu.Unlock()
		if !w.faults {
			return
		}
		switch {
		case vanish:
			w.count("store: record vanished")
			w.log(nil, "the store loses the record of %s", sl.user)
			sl.history = append(sl.history, held{})
		case len(sl.history) > back+1:
			w.count("store: write lost")
			sl.history = sl.history[:len(sl.history)-back]
			w.log(nil, "the store loses %d writes: back to %s", back, sl.now().content)
		default:
			return
		}
		sl.lost = true
		sl.user.lost = append(sl.user.lost, time.Now())
		sl.user.vanished = sl.user.vanished || vanish
	})
}
