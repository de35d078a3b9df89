package grant

import (
	"cmp"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
)

// entry is what this process knows about one grant. It outlives the flights:
// the memory of the highest generation and all first-seen times belong to the process.
type entry struct {
	sub    string
	early  float64 // enlarges the window, so that instances do not refresh in step
	cached atomic.Pointer[served]
	used   atomic.Int64 // when the last flight ended, on the process's clock

	mu        sync.Mutex
	flight    *flight
	evicted   bool
	memory    *grant        // the record of the highest generation seen, never changed in place
	seen      time.Duration // when this process first saw the generation in memory
	confirmed time.Duration // when the store last held memory
	unrevoked string        // a refresh token whose grant was ended, as far as is known

	// One flight at a time touches these.
	watch    watch
	attempts attempts
	age      time.Duration // how long a token must be known before inactive means dead; 0: confirmWait
	failures int           // in a row
	retryAt  time.Duration // no POST before
	refused  error         // what the server refused definitely, or nil

	opened     atomic.Pointer[opened]
	unverified atomic.Int64 // the generation whose sub could not be asked for
	active     atomic.Int64 // the generation whose access token was active at token-metadata
}

// recall returns the record of the highest generation seen, or nil.
func (e *entry) recall() (memory *grant, confirmed time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.memory, e.confirmed
}

// remember takes note of a record that the store holds. At an equal generation
// the store is right.
func (e *entry) remember(gr grant, now time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.note(gr, now)
}

// note is remember with e.mu held.
func (e *entry) note(gr grant, now time.Duration) {
	gr.Intent = nil
	if e.memory != nil && e.memory.Generation > gr.Generation {
		return
	}
	if e.memory == nil || e.memory.Generation != gr.Generation {
		e.seen = now
	}
	if e.memory != nil {
		gr.MaxLease = max(gr.MaxLease, e.memory.MaxLease)
	}
	e.confirmed = now
	if e.memory == nil || *e.memory != gr {
		e.memory = &gr
	}
}

// firstSeen is when this process first saw the generation in memory.
func (e *entry) firstSeen() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seen
}

// show makes s what callers get, unless a login or a disconnect here was later
// than the generation that it belongs to.
func (e *entry) show(s *served, generation int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if mem := e.memory; mem == nil || generation > mem.Generation || generation == mem.Generation && mem.Status == statusLive {
		e.cached.Store(s)
	}
}

// succeeded forgets the failures before.
func (e *entry) succeeded() { e.failures, e.retryAt, e.refused = 0, 0, nil }

// born is how long ago the generation at hand must have been seen first before
// "inactive" means dead: token-metadata may know a new token late. Each refresh
// for that reason doubles it, so that a living token costs few.
func (e *entry) born(confirmWait time.Duration) time.Duration { return max(e.age, confirmWait) }

const (
	entryShards = 256
	// A process remembers the grants it used within the last day, the longest
	// that a tombstone lives, and 128k of them at most.
	rememberFor     = tombstoneLife
	entriesPerShard = 512
	evictEvery      = time.Hour
)

// entries finds the entry of a user. Reading takes no lock; adding one copies
// the shard, and now and then leaves out who has not been used for long.
type entries struct {
	seed   maphash.Seed
	clock  musixmatch.Clock
	shards [entryShards]entryShard
}

type entryShard struct {
	all     atomic.Pointer[map[string]*entry]
	mu      sync.Mutex
	evicted time.Duration // when who is idle was last left out
}

func (es *entries) shard(sub string) *entryShard {
	return &es.shards[maphash.String(es.seed, sub)%entryShards]
}

func (s *entryShard) find(sub string) *entry {
	if all := s.all.Load(); all != nil {
		return (*all)[sub]
	}
	return nil
}

func (es *entries) find(sub string) *entry {
	return es.shard(sub).find(sub)
}

// locked returns the entry of sub with its lock held. It makes the entry if there is none.
func (es *entries) locked(sub string) *entry {
	for {
		e := es.find(sub)
		if e == nil {
			e = es.add(sub)
		}
		e.mu.Lock()
		if !e.evicted {
			return e
		}
		e.mu.Unlock()
	}
}

func (es *entries) add(sub string) *entry {
	s := es.shard(sub)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.find(sub); e != nil {
		return e
	}
	next := map[string]*entry{}
	if all := s.all.Load(); all != nil {
		maps.Copy(next, *all)
	}
	now := es.clock.Elapsed()
	if len(next) >= entriesPerShard || now-s.evicted >= evictEvery {
		s.evicted = now
		evictIdle(next, now)
	}
	e := &entry{sub: sub, early: jitter()}
	e.used.Store(int64(now))
	next[sub] = e
	s.all.Store(&next)
	return e
}

// drop forgets an entry that has nothing to remember, such as that of a user
// who has no grant.
func (es *entries) drop(e *entry) {
	s := es.shard(e.sub)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.find(e.sub) != e || !e.evict(func() bool { return e.memory == nil }) {
		return
	}
	next := maps.Clone(*s.all.Load())
	delete(next, e.sub)
	s.all.Store(&next)
}

func evictIdle(all map[string]*entry, now time.Duration) {
	before := int64(now - rememberFor)
	if len(all) >= entriesPerShard {
		oldest := slices.SortedFunc(maps.Values(all), func(a, b *entry) int {
			return cmp.Compare(a.used.Load(), b.used.Load())
		})
		before = max(before, oldest[len(oldest)/8].used.Load())
	}
	maps.DeleteFunc(all, func(_ string, e *entry) bool {
		return e.evict(func() bool { return e.used.Load() < before })
	})
}

// evict takes e out of use if it is idle and not in flight.
func (e *entry) evict(idle func() bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.flight != nil || !idle() {
		return false
	}
	e.evicted = true
	e.cached.Store(nil)
	return true
}
