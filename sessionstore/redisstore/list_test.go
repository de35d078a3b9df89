package redisstore_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/redisstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// A sweep and what it has seen. A call that fails is made again.
type sweep struct {
	t      *testing.T
	s      *redisstore.Store
	cursor string
	seen   map[string]bool
}

func beginSweep(t *testing.T, s *redisstore.Store) *sweep {
	return &sweep{t: t, s: s, seen: make(map[string]bool)}
}

// until goes on until the condition is true, or else to the end.
func (w *sweep) until(condition func() bool) {
	w.t.Helper()
	for {
		var keys []string
		var next string
		require.Eventually(w.t, func() (ok bool) {
			var err error
			keys, next, err = w.s.ListGrants(w.t.Context(), w.cursor, 20)
			return err == nil
		}, 20*time.Second, 10*time.Millisecond)
		for _, key := range keys {
			w.seen[key] = true
		}
		if w.cursor = next; next == "" || condition() {
			return
		}
	}
}

// finish ends the sweep, which must have seen the keys.
func (w *sweep) finish(keys []string) {
	w.t.Helper()
	require.NotEmpty(w.t, w.cursor, "the sweep ended too early to prove anything")
	w.until(func() bool { return false })
	require.ElementsMatch(w.t, keys, slices.Collect(maps.Keys(w.seen)))
}

func createGrants(t *testing.T, s *redisstore.Store, n int) (keys []string) {
	t.Helper()
	for i := range n {
		keys = append(keys, fmt.Sprint("grant", i))
		require.NoError(t, s.CommitGrant(t.Context(), keys[i], "", core.Record{Version: "v1"}))
	}
	return keys
}

// A cursor of SCAN means nothing to the server after a restart.
func TestServerRestartsDuringASweep(t *testing.T) {
	r := engines.StartRedis(t)
	s, _ := open(t, &redis.Options{Addr: r.Addr})
	keys := createGrants(t, s, 500)
	w := beginSweep(t, s)
	w.until(func() bool { return len(w.seen) > 100 })
	r.Kill()
	r.Start()
	w.finish(keys)
}

func TestSentinelFailsOverDuringASweep(t *testing.T) {
	g := engines.StartRedisSentinel(t)
	s := openUniversal(t, redis.NewFailoverClient(&redis.FailoverOptions{MasterName: engines.SentinelName, SentinelAddrs: g.Addrs}), "app:")
	keys := createGrants(t, s, 500)
	w := beginSweep(t, s)
	w.until(func() bool { return len(w.seen) > 100 })
	g.Failover()
	w.finish(keys)
}

// The servers know no slots then: the application does, or for a
// [redis.NewFailoverClusterClient] the sentinels do.
func TestListGrantsWhereTheClientIsToldTheSlots(t *testing.T) {
	a, b := engines.StartRedis(t), engines.StartRedis(t)
	slots := func(context.Context) ([]redis.ClusterSlot, error) {
		return []redis.ClusterSlot{
			{Start: 0, End: 8191, Nodes: []redis.ClusterNode{{Addr: a.Addr}}},
			{Start: 8192, End: 16383, Nodes: []redis.ClusterNode{{Addr: b.Addr}}},
		}, nil
	}
	s := openUniversal(t, redis.NewClusterClient(&redis.ClusterOptions{ClusterSlots: slots}), "app:")
	keys := createGrants(t, s, 200)
	w := beginSweep(t, s)
	w.until(func() bool { return true })
	w.finish(keys)
}

func TestListGrantsOfOnePrefix(t *testing.T) {
	r := engines.StartRedis(t)
	client := redis.NewClient(&redis.Options{Addr: r.Addr})
	prefixes := []string{"", "a", "ab:", "a*", "a?:", "[a]b:", `a\b:`, `a\*`}
	for _, prefix := range prefixes {
		require.NoError(t, openUniversal(t, client, prefix).CommitGrant(t.Context(), "of "+prefix, "", core.Record{Version: "v1"}))
	}
	for _, prefix := range prefixes {
		keys, next, err := openUniversal(t, client, prefix).ListGrants(t.Context(), "", 1000)
		require.NoError(t, err)
		require.Empty(t, next)
		require.Equal(t, []string{"of " + prefix}, keys)
	}
}

// clusterSweeps are cases of TestCluster.
func clusterSweeps(t *testing.T, c *engines.RedisCluster, open func(t *testing.T, prefix string) *redisstore.Store) {
	t.Run("a slot moves during a sweep", func(t *testing.T) {
		s := open(t, "sweep:")
		keys := createGrants(t, s, 500)
		last := slices.MaxFunc(c.Nodes[:3], func(a, b *engines.Redis) int { return strings.Compare(a.Addr, b.Addr) })
		unseen := func(key string) bool { return c.Master("sweep:grant:"+key) == last }
		w := beginSweep(t, s)
		var of []string
		for _, key := range keys {
			if unseen(key) {
				of = append(of, key)
			}
		}
		w.until(func() bool { return len(w.seen) >= len(keys)-len(of) })
		i := slices.IndexFunc(of, func(key string) bool { return !w.seen[key] })
		require.GreaterOrEqual(t, i, 0, "the sweep is too far to prove anything")
		c.MoveSlot("sweep:grant:"+of[i], func() {}) // to a master that was scanned
		w.finish(keys)
	})

	t.Run("a master is killed during a sweep", func(t *testing.T) {
		s := open(t, "failover:")
		keys := createGrants(t, s, 500)
		w := beginSweep(t, s)
		w.until(func() bool { return len(w.seen) > 50 })
		var first string
		for key := range w.seen {
			first = key
		}
		killed := c.Failover("failover:grant:"+first, nil)
		w.finish(keys)
		killed.Start()
		c.AwaitReplicas()
	})
}
