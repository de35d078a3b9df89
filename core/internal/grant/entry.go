package grant

import (
	"cmp"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
)

// served is a token as callers get it. Its times are on the refresher's clock.
type served struct {
	token      *oauth2.Token // shared by all callers
	generation int64
	fresh      time.Duration // until then it is served without a look at the store
	valid      time.Duration // until then it is served when there is nothing better
}

// keeper is what this process knows about one grant. It outlives the flights:
// the memory of the highest gen and all first-seen times belong to the process.
type entry struct {
	sub    string
	early  float64 // enlarges the window, so that instances do not refresh in step
	cached atomic.Pointer[served]
	used   atomic.Int64 // when the last flight ended, on the process's clock

	mu        sync.Mutex
	flight    *flight
	evicted   bool
	memory    *grant    // the record of the highest gen seen, never changed in place
	confirmed time.Time // when the store last held memory

	// One flight at a time touches these.
	watch    watch
	attempts attempts
	failures int       // in a row
	retryAt  time.Time // no POST before

	unverified atomic.Int64 // the gen whose sub could not be asked for
}

// recall returns the record of the highest gen seen, or nil.
func (e *entry) recall() (memory *grant, confirmed time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.memory, e.confirmed
}

// remember takes note of a record that the store holds. At an equal gen the
// store is right.
func (e *entry) remember(gr grant) {
	gr.Intent = nil
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.memory != nil && e.memory.Generation > gr.Generation {
		return
	}
	e.confirmed = time.Now()
	if e.memory == nil || *e.memory != gr {
		e.memory = &gr
	}
}

// show makes s what callers get, unless a login or a disconnect here was later
// than the gen that it belongs to.
func (e *entry) show(s *served, generation int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if m := e.memory; m == nil || generation > m.Generation || generation == m.Generation && m.Status == statusLive {
		e.cached.Store(s)
	}
}

const (
	entryShards = 256
	// A process remembers the grants it used within the last day, the longest
	// that a tombstone lives, and 128k of them at most.
	rememberFor     = tombstoneLife
	entriesPerShard = 512
	evictEvery      = time.Hour
)

// keepers finds the keeper of a user. Reading takes no lock; adding one copies
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

// locked returns the keeper of sub, made if need be, with its lock held.
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

// drop forgets a keeper that has nothing to remember, such as that of a user
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

// evict takes k out of use if it is idle and not in flight.
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
