package core

import (
	"cmp"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
)

// served is a token as callers get it. Its times are on the refresher's clock.
type served struct {
	token *oauth2.Token // shared by all callers
	gen   int64
	fresh time.Duration // until then it is served without a look at the store
	valid time.Duration // until then it is served when there is nothing better
}

// keeper is what this process knows about one grant. It outlives the flights:
// the memory of the highest gen and all first-seen times belong to the process.
type keeper struct {
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
	doubt    doubt
	failures int       // in a row
	retryAt  time.Time // no POST before

	unverified atomic.Int64 // the gen whose sub could not be asked for
}

// recall returns the record of the highest gen seen, or nil.
func (k *keeper) recall() (memory *grant, confirmed time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.memory, k.confirmed
}

// remember takes note of a record that the store holds. At an equal gen the
// store is right.
func (k *keeper) remember(gr grant) {
	gr.Intent = nil
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.memory != nil && k.memory.Gen > gr.Gen {
		return
	}
	k.confirmed = time.Now()
	if k.memory == nil || *k.memory != gr {
		k.memory = &gr
	}
}

// show makes s what callers get, unless a login or a disconnect here was later
// than the gen that it belongs to.
func (k *keeper) show(s *served, gen int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if m := k.memory; m == nil || gen > m.Gen || gen == m.Gen && m.Status == grantLive {
		k.cached.Store(s)
	}
}

const (
	keeperShards = 256
	// A process remembers the grants it used within the last day, the longest
	// that a tombstone lives, and 128k of them at most.
	rememberFor     = tombstoneLife
	keepersPerShard = 512
	evictEvery      = time.Hour
)

// keepers finds the keeper of a user. Reading takes no lock; adding one copies
// the shard, and now and then leaves out who has not been used for long.
type keepers struct {
	seed   maphash.Seed
	start  time.Time
	shards [keeperShards]keeperShard
}

type keeperShard struct {
	all     atomic.Pointer[map[string]*keeper]
	mu      sync.Mutex
	evicted time.Duration // when who is idle was last left out
}

func (ks *keepers) shard(sub string) *keeperShard {
	return &ks.shards[maphash.String(ks.seed, sub)%keeperShards]
}

func (s *keeperShard) find(sub string) *keeper {
	if all := s.all.Load(); all != nil {
		return (*all)[sub]
	}
	return nil
}

func (ks *keepers) find(sub string) *keeper {
	return ks.shard(sub).find(sub)
}

// locked returns the keeper of sub, made if need be, with its lock held.
func (ks *keepers) locked(sub string) *keeper {
	for {
		k := ks.find(sub)
		if k == nil {
			k = ks.add(sub)
		}
		k.mu.Lock()
		if !k.evicted {
			return k
		}
		k.mu.Unlock()
	}
}

func (ks *keepers) add(sub string) *keeper {
	s := ks.shard(sub)
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.find(sub); k != nil {
		return k
	}
	next := map[string]*keeper{}
	if all := s.all.Load(); all != nil {
		maps.Copy(next, *all)
	}
	now := time.Since(ks.start)
	if len(next) >= keepersPerShard || now-s.evicted >= evictEvery {
		s.evicted = now
		evictIdle(next, now)
	}
	k := &keeper{sub: sub, early: jitter()}
	k.used.Store(int64(now))
	next[sub] = k
	s.all.Store(&next)
	return k
}

// drop forgets a keeper that has nothing to remember, such as that of a user
// who has no grant.
func (ks *keepers) drop(k *keeper) {
	s := ks.shard(k.sub)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.find(k.sub) != k || !k.evict(func() bool { return k.memory == nil }) {
		return
	}
	next := maps.Clone(*s.all.Load())
	delete(next, k.sub)
	s.all.Store(&next)
}

func evictIdle(all map[string]*keeper, now time.Duration) {
	before := int64(now - rememberFor)
	if len(all) >= keepersPerShard {
		oldest := slices.SortedFunc(maps.Values(all), func(a, b *keeper) int {
			return cmp.Compare(a.used.Load(), b.used.Load())
		})
		before = max(before, oldest[len(oldest)/8].used.Load())
	}
	maps.DeleteFunc(all, func(_ string, k *keeper) bool {
		return k.evict(func() bool { return k.used.Load() < before })
	})
}

// evict takes k out of use if it is idle and not in flight.
func (k *keeper) evict(idle func() bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.flight != nil || !idle() {
		return false
	}
	k.evicted = true
	k.cached.Store(nil)
	return true
}
