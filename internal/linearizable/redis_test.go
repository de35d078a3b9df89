//go:build unix

package linearizable

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/redisstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

const noRetries = -1

func openRedis(t *testing.T, addr string, maxRetries int) (stores []core.GrantStore) {
	t.Helper()
	for range 2 {
		client := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: maxRetries, ContextTimeoutEnabled: true})
		t.Cleanup(func() { client.Close() })
		s, err := redisstore.New(t.Context(), client, "app:")
		require.NoError(t, err)
		stores = append(stores, s)
	}
	return stores
}

func openCluster(t *testing.T, c *engines.RedisCluster) (stores []core.GrantStore) {
	t.Helper()
	for range 2 {
		client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), ContextTimeoutEnabled: true})
		t.Cleanup(func() { client.Close() })
		s, err := redisstore.New(t.Context(), client, "app:")
		require.NoError(t, err)
		stores = append(stores, s)
	}
	return stores
}

func TestRedis(t *testing.T) {
	server := engines.StartRedis(t)
	t.Run("connections cut", func(t *testing.T) {
		proxy := engines.StartProxy(t, server.Addr)
		record(t, openRedis(t, proxy.Addr, noRetries), cutOften(proxy), withDeletes).requireLegal()
	})
	t.Run("connections cut, with retries", func(t *testing.T) {
		proxy := engines.StartProxy(t, server.Addr)
		record(t, openRedis(t, proxy.Addr, 3), cutOften(proxy), lasting).requireLegal()
	})
	t.Run("server killed", func(t *testing.T) {
		record(t, openRedis(t, server.Addr, noRetries), killAFewTimes(server), withDeletes).requireLegal()
	})
	stores := openRedis(t, server.Addr, noRetries)
	requireMutantsConvicted(t, stores[0], stores[1])
}

func TestRedisFailover(t *testing.T) {
	primary := engines.StartRedis(t)
	proxy, replication := engines.StartProxy(t, primary.Addr), engines.StartProxy(t, primary.Addr)
	host, port, err := net.SplitHostPort(replication.Addr)
	require.NoError(t, err)
	replica := engines.StartRedis(t, "--replicaof", host+" "+port)
	client := redis.NewClient(&redis.Options{Addr: primary.Addr})
	defer client.Close()
	require.Eventually(t, func() bool {
		require.NoError(t, client.Set(t.Context(), "marker", "x", 0).Err())
		n, err := client.Wait(t.Context(), 1, time.Second).Result()
		return err == nil && n == 1
	}, 20*time.Second, 10*time.Millisecond)

	requireFailoverAsDocumented(t, openRedis(t, proxy.Addr, noRetries), everyKey, func(lag func()) {
		replication.SetDown(true)
		lag()
		primary.Kill()
		c := redis.NewClient(&redis.Options{Addr: replica.Addr})
		defer c.Close()
		require.NoError(t, c.Do(t.Context(), "REPLICAOF", "NO", "ONE").Err())
		proxy.SetTarget(replica.Addr)
	})
}

func TestRedisCluster(t *testing.T) {
	c := engines.StartRedisCluster(t)
	t.Run("slot moved", func(t *testing.T) {
		const tag = "{one}"
		r := record(t, openCluster(t, c), func(r *run) {
			for range 6 {
				time.Sleep(200 * time.Millisecond)
				from := c.Master(tag)
				require.NoError(t, from.Client.ConfigResetStat(t.Context()).Err())
				c.MoveSlot(tag, func() {
					require.Eventually(t, func() bool {
						return strings.Contains(from.Client.Info(t.Context(), "errorstats").Val(), "errorstat_ASK:")
					}, 10*time.Second, time.Millisecond, "nobody asked for a key meanwhile")
				})
			}
		}, withTag(tag))
		r.requireLegal()
	})
	t.Run("master killed", func(t *testing.T) {
		record(t, openCluster(t, c), func(r *run) {
			time.Sleep(time.Second)
			c.Failover("app:grant:"+r.keys[0], nil).Start()
			c.AwaitReplicas()
		}).requireLegal()
	})
	t.Run("master killed whose replica lags", func(t *testing.T) {
		const on = "app:grant:any"
		dies := c.Master(on)
		requireFailoverAsDocumented(t, openCluster(t, c), func(key string) bool { return c.Master("app:grant:"+key) == dies },
			func(lag func()) { c.Failover(on, lag) })
	})
}
