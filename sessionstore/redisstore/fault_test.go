package redisstore_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestServerKilledAndRestartedUnderLoad(t *testing.T) {
	r := engines.StartRedis(t)
	s, _ := open(t, &redis.Options{Addr: r.Addr, MaxRetries: -1})
	o := storetest.RunOutage(t, s, func() {
		r.Kill()
		time.Sleep(100 * time.Millisecond)
		r.Start()
	})
	require.Positive(t, o.Failed, "the load did not notice")
	t.Logf("%+v", o)
}

func TestServerKilledWithRetries(t *testing.T) {
	r := engines.StartRedis(t)
	s, _ := open(t, &redis.Options{Addr: r.Addr, MaxRetries: 10})
	o := storetest.RunOutage(t, s, func() { r.Kill(); r.Start() })
	t.Logf("%+v", o)
}

func TestServerHangs(t *testing.T) {
	r := engines.StartRedis(t)
	s, _ := open(t, &redis.Options{Addr: r.Addr, ContextTimeoutEnabled: true})
	require.NoError(t, s.CommitGrant(t.Context(), "g", "", core.Record{Version: "v1"}))
	r.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	require.Error(t, s.CommitGrant(ctx, "g", "v1", core.Record{Version: "v2"}))
	require.Less(t, time.Since(start), 2*time.Second)
	r.Resume()
	record, found, err := s.FindGrant(t.Context(), "g")
	require.NoError(t, err)
	require.True(t, found)
	require.Contains(t, []string{"v1", "v2"}, record.Version, "the caller cannot know, and reads back")
}

// The connection is cut between the request and the answer. Without retries the
// caller gets an error and reads back what happened.
func TestConnectionCut(t *testing.T) {
	r := engines.StartRedis(t)
	p := engines.StartProxy(t, r.Addr)
	s, _ := open(t, &redis.Options{Addr: p.Addr, MaxRetries: -1})
	ctx := t.Context()
	require.NoError(t, s.CommitGrant(ctx, "g", "", core.Record{Version: "version-1"}))

	p.CutBefore("version-2")
	require.Error(t, s.CommitGrant(ctx, "g", "version-1", core.Record{Version: "version-2"}))
	require.Equal(t, "version-1", version(t, s, "g"), "the server never saw it")

	p.CutAfter("version-3")
	err := s.CommitGrant(ctx, "g", "version-1", core.Record{Version: "version-3"})
	require.Error(t, err)
	require.NotErrorIs(t, err, core.ErrConflict)
	require.Equal(t, "version-3", version(t, s, "g"), "it was done, and only the answer was lost")
	require.Equal(t, 2, p.Cuts())
}

// With go-redis's retries, the lost answer is asked for again, and the writer
// who won is not told that he lost.
func TestConnectionCutWithRetries(t *testing.T) {
	r := engines.StartRedis(t)
	p := engines.StartProxy(t, r.Addr)
	s, _ := open(t, &redis.Options{Addr: p.Addr})
	ctx := t.Context()
	p.CutAfter("version-1")
	require.NoError(t, s.CommitGrant(ctx, "g", "", core.Record{Version: "version-1"}))
	p.CutAfter("version-2")
	require.NoError(t, s.CommitGrant(ctx, "g", "version-1", core.Record{Version: "version-2"}))
	p.CutBefore("version-3")
	require.NoError(t, s.CommitGrant(ctx, "g", "version-2", core.Record{Version: "version-3"}))
	require.ErrorIs(t, s.CommitGrant(ctx, "g", "version-2", core.Record{Version: "version-4"}), core.ErrConflict)
	require.Equal(t, "version-3", version(t, s, "g"))
	require.Equal(t, 3, p.Cuts())
}

// A write that took effect, and was replaced before go-redis repeated it, must
// not be called a conflict.
func TestRepeatedAfterItWasReplaced(t *testing.T) {
	r := engines.StartRedis(t)
	p := engines.StartProxy(t, r.Addr)
	slow, _ := open(t, &redis.Options{Addr: p.Addr, MinRetryBackoff: 500 * time.Millisecond, MaxRetryBackoff: time.Second})
	other, client := open(t, &redis.Options{Addr: r.Addr})
	ctx := t.Context()
	require.NoError(t, other.CommitGrant(ctx, "g", "", core.Record{Version: "version-1"}))
	p.CutAfter("version-2")
	done := make(chan error, 1)
	go func() { done <- slow.CommitGrant(ctx, "g", "version-1", core.Record{Version: "version-2"}) }()
	require.Eventually(t, func() bool {
		return other.CommitGrant(ctx, "g", "version-2", core.Record{Version: "version-3"}) == nil
	}, 10*time.Second, time.Millisecond)
	err := <-done
	require.ErrorContains(t, err, "lost")
	require.NotErrorIs(t, err, core.ErrConflict)

	require.ErrorIs(t, slow.CommitGrant(ctx, "g", "version-1", core.Record{Version: "version-4"}), core.ErrConflict, "sent once")
	require.NoError(t, client.ScriptFlush(ctx).Err())
	require.ErrorIs(t, slow.CommitGrant(ctx, "g", "version-1", core.Record{Version: "version-4"}), core.ErrConflict, "sent again only because the server forgot the script")
}

func TestFullServer(t *testing.T) {
	r := engines.StartRedis(t, "--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
	s, _ := open(t, &redis.Options{Addr: r.Addr})
	ctx, end := t.Context(), time.Now().Add(time.Hour)
	require.NoError(t, s.CommitGrant(ctx, "g", "", core.Record{Data: []byte("data"), Version: "v1"}))
	require.NoError(t, s.CommitCtx(ctx, "s", []byte("data"), end))
	var err error
	filled := 0
	for ; err == nil && filled < 10_000; filled++ {
		err = s.CommitCtx(ctx, fmt.Sprint("fill", filled), make([]byte, 10_000), end)
	}
	require.ErrorContains(t, err, "OOM")

	require.ErrorContains(t, s.CommitGrant(ctx, "g", "v1", core.Record{Data: make([]byte, 10_000), Version: "v2"}), "OOM")
	require.Equal(t, "v1", version(t, s, "g"), "nothing is half done")
	require.ErrorContains(t, s.DeleteCtx(ctx, "s"), "OOM", "a logout that is not kept must not look like one")
	_, found, err := s.FindCtx(ctx, "s")
	require.NoError(t, err)
	require.True(t, found)
	for i := range filled - 1 {
		_, found, err := s.FindCtx(ctx, fmt.Sprint("fill", i))
		require.NoError(t, err)
		require.True(t, found, "nothing was evicted")
	}
}

func TestReadOnlyServer(t *testing.T) {
	primary := engines.StartRedis(t)
	s, _ := open(t, &redis.Options{Addr: primary.Addr, MaxRetries: -1})
	require.NoError(t, s.CommitGrant(t.Context(), "g", "", core.Record{Version: "v1"}))
	require.NoError(t, s.CommitCtx(t.Context(), "s", []byte("data"), time.Now().Add(time.Hour)))
	replica := follow(t, primary, primary.Addr)

	s, _ = open(t, &redis.Options{Addr: replica.Addr, MaxRetries: -1})
	require.ErrorContains(t, s.CommitGrant(t.Context(), "g", "v1", core.Record{Version: "v2"}), "READONLY")
	require.ErrorContains(t, s.CommitCtx(t.Context(), "s", nil, time.Now().Add(time.Hour)), "READONLY")
	require.ErrorContains(t, s.DeleteCtx(t.Context(), "s"), "READONLY")
	require.Equal(t, "v1", version(t, s, "g"))
	_, found, err := s.FindCtx(t.Context(), "s")
	require.NoError(t, err)
	require.True(t, found)
}

// A failover to a replica that lagged loses writes that were acknowledged. The
// store says plainly what is there: the versions show the regression to whoever
// remembers more, and nothing else is lost.
func TestFailoverThatLosesTheLastWrite(t *testing.T) {
	primary := engines.StartRedis(t)
	proxy, replication := engines.StartProxy(t, primary.Addr), engines.StartProxy(t, primary.Addr)
	s, _ := open(t, &redis.Options{Addr: proxy.Addr})
	ctx, end := t.Context(), time.Now().Add(time.Hour)
	require.NoError(t, s.CommitGrant(ctx, "g", "", core.Record{Version: "v1"}))
	require.NoError(t, s.CommitCtx(ctx, "ends", []byte("data"), end))
	replica := follow(t, primary, replication.Addr)

	// The replica falls behind, the primary goes on and dies.
	replication.SetDown(true)
	require.NoError(t, s.CommitGrant(ctx, "g", "v1", core.Record{Version: "v2"}))
	require.NoError(t, s.CommitCtx(ctx, "begins", []byte("data"), end))
	require.NoError(t, s.DeleteCtx(ctx, "ends"))
	primary.Kill()
	rc := redis.NewClient(&redis.Options{Addr: replica.Addr})
	defer rc.Close()
	require.NoError(t, rc.Do(ctx, "REPLICAOF", "NO", "ONE").Err())
	proxy.SetTarget(replica.Addr)

	require.Equal(t, "v1", version(t, s, "g"))
	require.ErrorIs(t, s.CommitGrant(ctx, "g", "v2", core.Record{Version: "v3"}), core.ErrConflict, "who remembers v2 learns that it is gone")
	require.NoError(t, s.CommitGrant(ctx, "g", "v1", core.Record{Version: "v3"}))
	_, found, err := s.FindCtx(ctx, "begins")
	require.NoError(t, err)
	require.False(t, found, "as documented: a session that had just begun is gone")
	_, found, err = s.FindCtx(ctx, "ends")
	require.NoError(t, err)
	require.True(t, found, "as documented: a session that had just ended may be back")
	require.NoError(t, s.DeleteCtx(ctx, "ends"))
	require.NoError(t, s.CommitCtx(ctx, "ends", nil, end))
	_, found, err = s.FindCtx(ctx, "ends")
	require.NoError(t, err)
	require.False(t, found)
}

// What is on the disk holds no token under which a session is found.
func TestDumpHoldsNoSessionToken(t *testing.T) {
	r := engines.StartRedis(t)
	s, client := open(t, &redis.Options{Addr: r.Addr})
	sessions := storetest.HashedSessions(s)
	ctx, err := sessions.Load(t.Context(), "")
	require.NoError(t, err)
	sessions.Put(ctx, "user", "ada")
	token, _, err := sessions.Commit(ctx)
	require.NoError(t, err)
	require.NoError(t, client.Save(ctx).Err())

	var dump []byte
	require.NoError(t, filepath.WalkDir(r.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		dump = append(dump, b...)
		return err
	}))
	require.Contains(t, string(dump), "app:session:", "the grep must see what it looks through")
	require.NotContains(t, string(dump), token)
}

// follow starts a replica of primary, which it reaches at addr.
func follow(t *testing.T, primary *engines.Redis, addr string) *engines.Redis {
	t.Helper()
	host, port := split(t, addr)
	replica := engines.StartRedis(t, "--replicaof", host+" "+port)
	client := redis.NewClient(&redis.Options{Addr: primary.Addr})
	defer client.Close()
	require.Eventually(t, func() bool { // the replica has confirmed all that was written
		require.NoError(t, client.Set(t.Context(), "marker", "x", 0).Err())
		n, err := client.Wait(t.Context(), 1, time.Second).Result()
		return err == nil && n == 1
	}, 20*time.Second, 10*time.Millisecond)
	return replica
}

func version(t *testing.T, s core.GrantStore, key string) string {
	t.Helper()
	r, found, err := s.FindGrant(t.Context(), key)
	require.NoError(t, err)
	require.True(t, found)
	return r.Version
}
