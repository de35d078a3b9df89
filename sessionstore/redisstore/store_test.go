package redisstore_test

import (
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alicebob/miniredis/v2"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/internal/testall"
	"github.com/mxmconnect/mxmconnect/sessionstore/redisstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, o *redis.Options) (*redisstore.Store, *redis.Client) {
	t.Helper()
	client := redis.NewClient(o)
	t.Cleanup(func() { client.Close() })
	s, err := redisstore.New(t.Context(), client, "app:")
	require.NoError(t, err)
	return s, client
}

func TestStore(t *testing.T) {
	r := engines.StartRedis(t)
	s, _ := open(t, &redis.Options{Addr: r.Addr})
	storetest.RunSessions(t, func(t *testing.T) scs.CtxStore { return s })
	storetest.RunGrants(t, func(t *testing.T) core.GrantStore { return s })
}

func TestStoreOverRESP2(t *testing.T) {
	testall.Long(t)
	r := engines.StartRedis(t)
	s, _ := open(t, &redis.Options{Addr: r.Addr, Protocol: 2})
	storetest.RunSessions(t, func(t *testing.T) scs.CtxStore { return s })
	storetest.RunGrants(t, func(t *testing.T) core.GrantStore { return s })
}

// miniredis is an imitation, for where there is no Redis.
func TestStoreOnMiniredis(t *testing.T) {
	m := miniredis.RunT(t)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // its time stands still otherwise
		for tick := time.NewTicker(10 * time.Millisecond); ; {
			select {
			case <-tick.C:
				m.FastForward(10 * time.Millisecond)
			case <-done:
				tick.Stop()
				return
			}
		}
	})
	t.Cleanup(func() { close(done); wg.Wait() })
	s, _ := open(t, &redis.Options{Addr: m.Addr()})
	storetest.RunSessions(t, func(t *testing.T) scs.CtxStore { return s })
	storetest.RunGrants(t, func(t *testing.T) core.GrantStore { return s })
}
