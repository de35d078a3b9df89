package examples_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/internal/testall"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
)

const slotOfTheDead = "any key: its master dies"

// onCluster starts two instances that share a Redis Cluster, and signs in everybody.
func onCluster(t *testing.T) (*engines.RedisCluster, *mxmtest.Server, []*process, []*http.Client) {
	t.Helper()
	cluster, srv := engines.StartRedisCluster(t), newServer(t)
	env := []string{"MXM_STORE=" + cluster.URL(), "MXM_KEYS=" + goodKey, "MXM_REFRESH_TIMEOUT=1s", "MXM_IDLE_TIMEOUT=1m"}
	first := startDemo(t, "nethttp", srv, env...)
	apps := []*process{first, startTwin(t, first, srv, env...)}
	return cluster, srv, apps, crowd(t, srv, first)
}

// All access tokens run out while a master dies, half of them before and half
// during the failover. What the master acknowledged, its replica has: so there is
// one POST for each user, nobody is lost, and requests fail during the failover only.
func TestRedisClusterWhileAMasterDies(t *testing.T) {
	testall.Long(t)
	cluster, srv, apps, clients := onCluster(t)
	srv.Fail(mxmtest.Token, mxmtest.SlowRequest(200*time.Millisecond), mxmtest.Grant("refresh_token"), mxmtest.Always())

	type request struct {
		began, ended time.Time
		what         string
	}
	var (
		mu   sync.Mutex
		all  []request
		load sync.WaitGroup
		stop = make(chan struct{})
	)
	for i, c := range clients[:users] {
		load.Go(func() {
			for n := i; ; n++ {
				select {
				case <-stop:
					return
				case <-time.After(50 * time.Millisecond):
				}
				r := request{began: time.Now(), what: outcomeOf(t, c, apps[n%2].URL+"/whoami")}
				r.ended = time.Now()
				mu.Lock()
				all = append(all, r)
				mu.Unlock()
			}
		})
	}
	time.Sleep(1500 * time.Millisecond) // by then both instances know the tokens for long enough to believe that they are dead
	for i := range users / 2 {
		srv.ExpireAccessTokens(userID(i))
	}
	load.Go(func() {
		time.Sleep(time.Second)
		for i := users / 2; i < users; i++ {
			srv.ExpireAccessTokens(userID(i))
		}
	})
	began := time.Now()
	cluster.Failover(slotOfTheDead, nil)
	over := time.Now()
	time.Sleep(4 * time.Second)
	close(stop)
	load.Wait()

	const found = 2 * time.Second // until clients know, and requests that waited have been answered
	failed, last := 0, time.Duration(0)
	for _, r := range all {
		if r.what == "200" {
			continue
		}
		failed++
		last = max(last, r.began.Sub(over))
		require.Equal(t, "503 unavailable", r.what)
		require.True(t, r.ended.After(began), "a request failed before the failover")
		require.True(t, r.began.Before(over.Add(found)), "a request failed %s after the failover", r.began.Sub(over))
	}
	require.Positive(t, failed, "nobody noticed that a master died")
	for i, c := range clients {
		require.Equal(t, "200", outcomeOf(t, c, apps[i%2].URL+"/whoami"), "lost: %s", userID(i))
	}
	posts := map[string]int{}
	for _, r := range refreshes(srv) {
		require.Equal(t, mxmtest.OK, r.Outcome)
		posts[r.UserID]++
	}
	for i := range users {
		require.Equal(t, 1, posts[userID(i)], "POSTs of %s", userID(i))
	}
	t.Logf("failover %s, %d of %d requests failed, the last began %s after it; %d POSTs for %d users, lost 0",
		over.Sub(began).Round(time.Millisecond), failed, len(all), last.Round(time.Millisecond), len(refreshes(srv)), users)
}

// The replica has nothing of what the dying master acknowledged. Tokens that were
// refreshed meanwhile are repaired by the instance that refreshed them. The floor
// is who signed in meanwhile, and signs in once more; nobody else is lost.
func TestRedisClusterLosesAcknowledgedWrites(t *testing.T) {
	testall.Long(t)
	cluster, srv, apps, clients := onCluster(t)
	visit := func(i int, c *http.Client) string { return outcomeOf(t, c, apps[i%2].URL+"/whoami") }
	for i, c := range clients[:users] {
		require.Equal(t, "200", visit(i, c))
	}
	time.Sleep(time.Second) // an instance believes no token to be dead that it has not known for half a second
	for i := range users {
		srv.ExpireAccessTokens(userID(i))
	}
	newcomers := make([]*http.Client, 20)
	cluster.Failover(slotOfTheDead, func() {
		for i, c := range clients[:users] {
			require.Equal(t, "200", visit(i, c))
		}
		for i := range newcomers {
			newcomers[i] = browser(t)
			srv.SignInAs(newcomer(i))
			signIn(t, newcomers[i], apps[0].URL)
		}
	})
	require.Len(t, refreshes(srv), users)

	var load sync.WaitGroup
	for i, c := range clients[:users] {
		load.Go(func() {
			const twoLeases = 3 * time.Second // by then an instance has read again what it remembers
			first, end := time.Time{}, time.Now().Add(30*time.Second)
			for first.IsZero() || time.Since(first) < twoLeases {
				what := visit(i, c)
				if !assert.Contains(t, []string{"200", "503 unavailable"}, what, "%s is lost", userID(i)) || !assert.True(t, time.Now().Before(end)) {
					return
				}
				if first.IsZero() && what == "200" {
					first = time.Now()
				}
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
	load.Wait()
	repaired := 0
	for _, app := range apps {
		repaired += strings.Count(app.stderr.String(), `"msg":"musixmatch repaired"`)
	}
	require.Positive(t, repaired, "the failover lost nothing, and so showed nothing")
	for i, c := range clients {
		require.Equal(t, "200", outcomeOf(t, c, apps[(i+1)%2].URL+"/whoami"), "the other instance has the new tokens of %s, too", userID(i))
	}

	lost := 0
	for i, c := range newcomers {
		what := visit(i, c)
		if what == "200" {
			continue
		}
		lost++
		require.Contains(t, []string{"401 not_signed_in", "401 reconnect"}, what)
		srv.SignInAs(newcomer(i))
		signIn(t, c, apps[0].URL)
		require.Equal(t, "200", visit(i, c), "one sign-in heals it")
	}
	require.Positive(t, lost)
	require.Len(t, refreshes(srv), users, "no token is presented twice")
	t.Logf("%d of %d refreshes were lost and repaired; %d of %d who signed in at that time sign in again (floor); above the floor 0 of %d",
		repaired, users, lost, len(newcomers), users)
}

func newcomer(i int) string { return fmt.Sprintf("mxm:3%020d", i) }
