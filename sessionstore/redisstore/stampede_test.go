package redisstore_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/internal/testall"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// All tokens expire, and four instances notice at once: one POST for each user,
// also when the primary is killed meanwhile, and nobody has to connect again.
func TestStampede(t *testing.T) {
	testall.Long(t)
	t.Run("cluster", func(t *testing.T) {
		c := engines.StartRedisCluster(t)
		options := &redis.ClusterOptions{Addrs: c.Addrs(), ContextTimeoutEnabled: true}
		stampede(t, func() redis.UniversalClient { return redis.NewClusterClient(options) }, func() {})
	})
	t.Run("Sentinel, which fails over", func(t *testing.T) {
		g := engines.StartRedisSentinel(t)
		stampede(t, func() redis.UniversalClient {
			return redis.NewFailoverClient(&redis.FailoverOptions{
				MasterName: engines.SentinelName, SentinelAddrs: g.Addrs, ContextTimeoutEnabled: true,
			})
		}, g.Failover)
	})
	t.Run("TLS with a client certificate", func(t *testing.T) {
		r, config := engines.StartRedisTLS(t)
		options := &redis.Options{Addr: r.Addr, TLSConfig: config, ContextTimeoutEnabled: true}
		stampede(t, func() redis.UniversalClient { return redis.NewClient(options) }, func() {})
	})
	t.Run("a user with the documented rights", func(t *testing.T) {
		r := engines.StartRedis(t)
		setUser(t, r, documentedUser(t, "on >PASSWORD"))
		options := &redis.Options{Addr: r.Addr, Username: "app", Password: "PASSWORD", ContextTimeoutEnabled: true}
		stampede(t, func() redis.UniversalClient { return redis.NewClient(options) }, func() {})
	})
}

// stampede calls meanwhile when some of the tokens are refreshed and others not yet.
func stampede(t *testing.T, client func() redis.UniversalClient, meanwhile func()) {
	const users, instances, callers = 50, 4, 5
	srv := mxmtest.NewServer()
	t.Cleanup(srv.Close)
	config := srv.Config("http://127.0.0.1:8080")
	key := make([]byte, 32)
	rand.Read(key)
	config.Keys = [][]byte{key}
	config.RefreshTimeout = 4 * time.Second
	config.Logger = slog.New(slog.DiscardHandler)
	var auths []*core.Auth
	for range instances {
		config.Grants = openUniversal(t, client(), "app:")
		auth, err := core.New(config)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, auth.Close(context.Background())) })
		auths = append(auths, auth)
	}
	id := func(i int) string { return fmt.Sprintf("mxm:%021d", i) }
	for i := range users {
		srv.AddUser(id(i), "")
		_, err := auths[0].Import(t.Context(), srv.Issue(id(i)).RefreshToken)
		require.NoError(t, err)
		for _, auth := range auths {
			_, err := auth.TokenSource(t.Context(), id(i)).Token()
			require.NoError(t, err)
		}
	}
	time.Sleep(config.RefreshTimeout / 2) // an instance believes no token to be dead that it has not known so long
	srv.ResetRequests()
	for i := range users {
		srv.ExpireAccessTokens(id(i))
	}
	srv.Fail(mxmtest.Token, mxmtest.SlowRequest(200*time.Millisecond), mxmtest.Always())

	var wg sync.WaitGroup
	var failed atomic.Int64
	for i := range users {
		for n := range instances * callers {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 20 * time.Millisecond)
				api := auths[n%instances].Client(t.Context(), id(i))
				deadline := time.Now().Add(time.Minute)
				for {
					res, err := api.Get(srv.APIURL() + "/whoami")
					if err == nil {
						res.Body.Close()
						assert.Equal(t, 200, res.StatusCode)
						return
					}
					if !assert.ErrorIs(t, err, core.ErrUnavailable) || !assert.True(t, time.Now().Before(deadline)) {
						return
					}
					failed.Add(1)
				}
			})
		}
	}
	time.Sleep(users / 2 * 20 * time.Millisecond)
	meanwhile()
	wg.Wait()
	t.Logf("%d requests, which failed %d times meanwhile", users*instances*callers, failed.Load())
	posts := slices.DeleteFunc(srv.Requests(), func(r mxmtest.Request) bool { return r.Endpoint != mxmtest.Token })
	require.Len(t, posts, users)
	for _, r := range posts {
		require.Equal(t, 200, r.Status)
	}
	for i := range users {
		live := srv.Live(id(i))
		require.Len(t, live, 1)
		require.Equal(t, 2, live[0].Refreshes)
	}
}
