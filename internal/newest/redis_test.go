package newest

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/redisstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func openRedis(t testing.TB, o *redis.Options) (*redisstore.Store, *redis.Client) {
	t.Helper()
	client := redis.NewClient(o)
	t.Cleanup(func() { client.Close() })
	s, err := redisstore.New(t.Context(), client, "app:")
	require.NoError(t, err)
	return s, client
}

// Sessions are read from the client's memory when it has client-side caching,
// grants never are.
func TestClientSideCaching(t *testing.T) {
	r := engines.StartRedis(t)
	cached, _ := openRedis(t, &redis.Options{Addr: r.Addr, ClientSideCacheConfig: &redis.ClientSideCacheConfig{}})
	other, observer := openRedis(t, &redis.Options{Addr: r.Addr})
	ctx, end := t.Context(), time.Now().Add(time.Hour)
	require.NoError(t, other.CommitCtx(ctx, "s", []byte("first"), end))
	require.NoError(t, other.CommitGrant(ctx, "g", "", core.Record{Version: "v1"}))
	calls := func(command string) string {
		info, err := observer.Info(ctx, "commandstats").Result()
		require.NoError(t, err)
		_, rest, _ := strings.Cut(info, "cmdstat_"+command+":calls=")
		n, _, _ := strings.Cut(rest, ",")
		return n
	}
	find := func() (found bool) {
		_, found, err := cached.FindCtx(ctx, "s")
		require.NoError(t, err)
		return found
	}
	require.True(t, find())
	gets := calls("get")
	for range 100 {
		b, found, err := cached.FindCtx(ctx, "s")
		require.NoError(t, err)
		require.True(t, found)
		require.Equal(t, "first", string(b))
		copy(b, "XXXXX") // it is the caller's own, not the cache's
	}
	require.Equal(t, gets, calls("get"), "no command left the process")

	scripts := calls("evalsha")
	for range 10 {
		_, _, err := cached.FindGrant(ctx, "g")
		require.NoError(t, err)
	}
	require.NotEqual(t, scripts, calls("evalsha"), "every grant is read from the server")

	require.NoError(t, other.DeleteCtx(ctx, "s"))
	require.Eventually(t, func() bool { return !find() }, 10*time.Second, time.Millisecond, "the server says that it changed")
	require.NoError(t, cached.CommitCtx(ctx, "s", []byte("late"), end))
	require.False(t, find(), "and caching revives nothing")
}

// The right that package redisstore names for it is needed, and is enough.
func TestClientSideCachingNeedsARight(t *testing.T) {
	doc, err := os.ReadFile("../../sessionstore/redisstore/doc.go")
	require.NoError(t, err)
	rights := regexp.MustCompile(`(?m)^//\tACL SETUSER app (\+client.*)$`).FindSubmatch(doc)
	require.NotNil(t, rights)
	r := engines.StartRedis(t)
	for _, right := range strings.Fields(string(rights[1])) {
		require.NoError(t, r.Client.Do(t.Context(), "ACL", "SETUSER", "app", "reset", "on", ">PASSWORD", "~app:*", "+@all", "-"+strings.TrimPrefix(right, "+")).Err())
		require.NoError(t, r.Client.Do(t.Context(), "ACL", "LOG", "RESET").Err())
		client := redis.NewClient(&redis.Options{Addr: r.Addr, Username: "app", Password: "PASSWORD", ClientSideCacheConfig: &redis.ClientSideCacheConfig{}})
		_, _ = redisstore.New(t.Context(), client, "app:")
		client.Close()
		refused, err := r.Client.ACLLog(t.Context(), 100).Result()
		require.NoError(t, err)
		require.NotEmpty(t, refused, "nothing needs %s", right)
		require.Equal(t, strings.TrimPrefix(right, "+"), refused[0].Object)
	}
}

func BenchmarkClientSideCaching(b *testing.B) {
	r := engines.StartRedis(b, "--appendonly", "no")
	cached, _ := openRedis(b, &redis.Options{Addr: r.Addr, ClientSideCacheConfig: &redis.ClientSideCacheConfig{}})
	require.NoError(b, cached.Commit("s", make([]byte, 200), time.Now().Add(time.Hour)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := cached.FindCtx(b.Context(), "s"); err != nil {
			b.Fatal(err)
		}
	}
}
