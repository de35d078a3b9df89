package redisstore_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/internal/testall"
	"github.com/mxmconnect/mxmconnect/sessionstore/redisstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func openUniversal(t testing.TB, client redis.UniversalClient, prefix string) *redisstore.Store {
	t.Helper()
	t.Cleanup(func() { client.Close() })
	s, err := redisstore.New(t.Context(), client, prefix)
	require.NoError(t, err)
	return s
}

func suite(t *testing.T, s *redisstore.Store) {
	t.Helper()
	storetest.RunSessions(t, func(t *testing.T) scs.CtxStore { return s })
	storetest.RunGrants(t, func(t *testing.T) core.GrantStore { return s })
	storetest.RunLister(t, func(t *testing.T) storetest.Lister { return s })
}

// Everything on one cluster, in turn: it takes seconds to find itself.
func TestCluster(t *testing.T) {
	testall.Long(t)
	c := engines.StartRedisCluster(t)
	open := func(t *testing.T, prefix string) *redisstore.Store {
		return openUniversal(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), ContextTimeoutEnabled: true}), prefix)
	}

	t.Run("suite", func(t *testing.T) { suite(t, open(t, "suite:")) })

	t.Run("New asks every master", func(t *testing.T) {
		log := captureLog(t)
		for _, node := range c.Nodes[:3] {
			require.NoError(t, node.Client.ConfigSet(t.Context(), "maxmemory", "100mb").Err())
			require.NoError(t, node.Client.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru").Err())
			log.Reset()
			open(t, "app:")
			require.Equal(t, 1, strings.Count(log.String(), "maxmemory_policy=allkeys-lru"), "%s", log)
			require.NoError(t, node.Client.ConfigSet(t.Context(), "maxmemory", "0").Err())
		}
	})

	clusterSweeps(t, c, open)

	t.Run("slots move under load", func(t *testing.T) {
		o := storetest.RunOutage(t, open(t, "moves:"), func() {
			for _, node := range c.Nodes[:3] {
				key := grantOf(t, node, "moves:")
				from := c.Master(key)
				c.MoveSlot(key, func() {
					require.Eventually(t, func() bool {
						return strings.Contains(from.Client.Info(t.Context(), "errorstats").Val(), "errorstat_ASK:")
					}, 10*time.Second, 10*time.Millisecond, "nobody asked for the key meanwhile")
				})
				require.NotEqual(t, from, c.Master(key))
				require.NoError(t, from.Client.ConfigResetStat(t.Context()).Err())
			}
		})
		require.Zero(t, o.Failed, "nobody notices")
		t.Logf("%+v", o)
	})

	t.Run("a master is killed under load", func(t *testing.T) {
		o := storetest.RunOutage(t, open(t, "dies:"), func() {
			c.Failover(grantOf(t, c.Nodes[0], "dies:"), nil).Start() // as the replica of its successor
			c.AwaitReplicas()
		})
		require.Positive(t, o.Failed, "the load did not notice")
		t.Logf("%+v", o)
	})

	// The documentation says so: what the replica had not, is lost.
	t.Run("a master is killed and its replica lags", func(t *testing.T) {
		s, ctx, end := open(t, "lags:"), t.Context(), time.Now().Add(time.Hour)
		const tag = "{one}" // one slot
		require.NoError(t, s.CommitGrant(ctx, tag, "", core.Record{Version: "v1"}))
		require.NoError(t, s.CommitCtx(ctx, tag+"ends", []byte("data"), end))
		c.Failover("lags:grant:"+tag, func() {
			require.NoError(t, s.CommitGrant(ctx, tag, "v1", core.Record{Version: "v2"}))
			require.NoError(t, s.CommitCtx(ctx, tag+"begins", []byte("data"), end))
			require.NoError(t, s.DeleteCtx(ctx, tag+"ends"))
		})
		require.Eventually(t, func() bool { _, _, err := s.FindGrant(ctx, tag); return err == nil },
			10*time.Second, 10*time.Millisecond, "the client does not look for the new master")
		require.Equal(t, "v1", version(t, s, tag))
		require.ErrorIs(t, s.CommitGrant(ctx, tag, "v2", core.Record{Version: "v3"}), core.ErrConflict, "who remembers v2 learns that it is gone")
		_, found, err := s.FindCtx(ctx, tag+"begins")
		require.NoError(t, err)
		require.False(t, found)
		_, found, err = s.FindCtx(ctx, tag+"ends")
		require.NoError(t, err)
		require.True(t, found)
	})
}

// grantOf returns the key of a grant that a node serves.
func grantOf(t *testing.T, node *engines.Redis, prefix string) string {
	t.Helper()
	var keys []string
	require.Eventually(t, func() bool {
		var err error
		keys, _, err = node.Client.Scan(t.Context(), 0, prefix+"grant:*", 100_000).Result()
		return err == nil && len(keys) > 0
	}, 20*time.Second, 10*time.Millisecond, "the load has no grant on this master")
	return keys[0]
}

func captureLog(t *testing.T) *bytes.Buffer {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	return &log
}

func TestSentinel(t *testing.T) {
	testall.Long(t)
	g := engines.StartRedisSentinel(t)
	s := openUniversal(t, redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: engines.SentinelName, SentinelAddrs: g.Addrs, ContextTimeoutEnabled: true,
	}), "app:")
	suite(t, s)
	o := storetest.RunOutage(t, s, g.Failover)
	require.Positive(t, o.Failed, "the load did not notice")
	t.Logf("%+v", o)
}

// A session that has ended would be found on a replica.
func TestReadingFromReplicasIsRefused(t *testing.T) {
	nowhere := []string{"127.0.0.1:1"}
	for name, client := range map[string]*redis.ClusterClient{
		"ReadOnly":       redis.NewClusterClient(&redis.ClusterOptions{Addrs: nowhere, ReadOnly: true}),
		"RouteByLatency": redis.NewClusterClient(&redis.ClusterOptions{Addrs: nowhere, RouteByLatency: true}),
		"RouteRandomly":  redis.NewClusterClient(&redis.ClusterOptions{Addrs: nowhere, RouteRandomly: true}),
		"Sentinel":       redis.NewFailoverClusterClient(&redis.FailoverOptions{SentinelAddrs: nowhere, RouteRandomly: true}),
	} {
		defer client.Close()
		_, err := redisstore.New(t.Context(), client, "app:")
		require.ErrorContains(t, err, "reads from replicas", name)
	}
}

func TestTLSWithAClientCertificate(t *testing.T) {
	r, config := engines.StartRedisTLS(t)
	s, _ := open(t, &redis.Options{Addr: r.Addr, TLSConfig: config})
	suite(t, s)

	stranger := config.Clone()
	stranger.Certificates = nil
	client := redis.NewClient(&redis.Options{Addr: r.Addr, TLSConfig: stranger, MaxRetries: -1})
	defer client.Close()
	_, err := redisstore.New(t.Context(), client, "app:")
	require.Error(t, err) // "certificate required", or a reset that overtook it
}
