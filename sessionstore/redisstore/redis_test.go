package redisstore_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/redisstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func split(t *testing.T, addr string) (host, port string) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	return host, port
}

// recorder counts the commands that leave a client.
type recorder struct {
	mu   sync.Mutex
	cmds []string
}

func (r *recorder) DialHook(next redis.DialHook) redis.DialHook { return next }
func (r *recorder) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		r.mu.Lock()
		r.cmds = append(r.cmds, "pipeline")
		r.mu.Unlock()
		return next(ctx, cmds)
	}
}
func (r *recorder) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		r.mu.Lock()
		r.cmds = append(r.cmds, cmd.Name())
		r.mu.Unlock()
		return next(ctx, cmd)
	}
}

func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.cmds = nil }()
	return r.cmds
}

func TestOneCommandPerCall(t *testing.T) {
	r := engines.StartRedis(t)
	s, client := open(t, &redis.Options{Addr: r.Addr})
	rec := &recorder{}
	client.AddHook(rec)
	ctx, end := t.Context(), time.Now().Add(time.Hour)
	calls := []struct {
		name, command string
		do            func() error
	}{
		{"CommitCtx", "evalsha", func() error { return s.CommitCtx(ctx, "s", []byte("data"), end) }},
		{"FindCtx", "get", func() error { _, _, err := s.FindCtx(ctx, "s"); return err }},
		{"DeleteCtx", "evalsha", func() error { return s.DeleteCtx(ctx, "s") }},
		{"CommitGrant", "evalsha", func() error { return s.CommitGrant(ctx, "g", "", core.Record{Version: "v1"}) }},
		{"FindGrant", "evalsha", func() error { _, _, err := s.FindGrant(ctx, "g"); return err }},
		{"ListGrants", "pipeline", func() error { _, _, err := s.ListGrants(ctx, "", 10); return err }},
		{"DeleteGrant", "del", func() error { return s.DeleteGrant(ctx, "g") }},
	}
	for range 2 { // once so that the server knows the scripts
		for _, c := range calls {
			require.NoError(t, c.do())
		}
	}
	rec.take()
	for _, c := range calls {
		require.NoError(t, c.do())
		require.Equal(t, []string{c.command}, rec.take(), c.name)
	}
	require.NoError(t, client.ScriptFlush(ctx).Err())
	rec.take()
	require.NoError(t, s.CommitGrant(ctx, "g", "", core.Record{Version: "v1"}))
	require.Equal(t, []string{"evalsha", "eval"}, rec.take(), "a server that forgot the scripts is told again")
}

func TestKeysHaveThePrefixAndExpire(t *testing.T) {
	r := engines.StartRedis(t)
	s, client := open(t, &redis.Options{Addr: r.Addr})
	ctx := t.Context()
	end := time.Now().Add(time.Minute)
	require.NoError(t, s.CommitCtx(ctx, "live", nil, end))
	require.NoError(t, s.CommitCtx(ctx, "ended", nil, end))
	require.NoError(t, s.DeleteCtx(ctx, "ended"))
	require.NoError(t, s.DeleteCtx(ctx, "ended"))
	require.NoError(t, s.DeleteCtx(ctx, "unknown"))
	require.NoError(t, s.CommitGrant(ctx, "claim", "", core.Record{Version: "v1", Expiry: end}))
	require.NoError(t, s.CommitGrant(ctx, "grant", "", core.Record{Version: "v1"}))
	require.NoError(t, s.CommitGrant(ctx, "past", "", core.Record{Version: "v1", Expiry: time.Now().Add(-time.Minute)}))
	keys, err := client.Keys(ctx, "*").Result()
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"app:session:live", "app:session:ended", "app:grant:claim", "app:grant:grant"}, keys)
	for key, want := range map[string]time.Duration{
		"app:session:live":  time.Minute,
		"app:session:ended": time.Hour + time.Minute,
		"app:grant:claim":   time.Minute,
	} {
		ttl, err := client.PTTL(ctx, key).Result()
		require.NoError(t, err)
		require.InDelta(t, want.Seconds(), ttl.Seconds(), 5, key)
	}
	ttl, err := client.PTTL(ctx, "app:grant:grant").Result()
	require.NoError(t, err)
	require.Negative(t, ttl, "a grant without an expiry stays")
	length, err := client.StrLen(ctx, "app:session:ended").Result()
	require.NoError(t, err)
	require.Zero(t, length, "a tombstone holds nothing")
}

func TestTwoPrefixesAreTwoStores(t *testing.T) {
	r := engines.StartRedis(t)
	a, client := open(t, &redis.Options{Addr: r.Addr})
	b, err := redisstore.New(t.Context(), client, "other:")
	require.NoError(t, err)
	require.NoError(t, a.CommitGrant(t.Context(), "g", "", core.Record{Version: "v1"}))
	require.NoError(t, b.CommitGrant(t.Context(), "g", "", core.Record{Version: "v2"}))
	require.Equal(t, "v1", version(t, a, "g"))
	require.Equal(t, "v2", version(t, b, "g"))
}

func TestWarnsWhenTheServerMayEvict(t *testing.T) {
	for _, tt := range []struct {
		args []string
		warn string
	}{
		{nil, ""},
		{[]string{"--maxmemory", "100mb", "--maxmemory-policy", "noeviction"}, ""},
		{[]string{"--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"}, "maxmemory_policy=allkeys-lru"},
		{[]string{"--maxmemory", "100mb", "--maxmemory-policy", "volatile-ttl"}, "maxmemory_policy=volatile-ttl"},
		{[]string{"--maxmemory-policy", "allkeys-lru"}, ""}, // without a limit nothing is evicted
		{[]string{"--user", "default", "on", "nopass", "~*", "+@all", "-info"}, "does not say"},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			r := engines.StartRedis(t, tt.args...)
			var log bytes.Buffer
			before := slog.Default()
			slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
			defer slog.SetDefault(before)
			open(t, &redis.Options{Addr: r.Addr})
			if tt.warn == "" {
				require.Empty(t, log.String())
			} else {
				require.Contains(t, log.String(), "level=WARN")
				require.Contains(t, log.String(), tt.warn)
			}
		})
	}
}

// A logout while a Ring's server is away would end the session on another one,
// until the first is back.
func TestRingIsRefused(t *testing.T) {
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"one": "127.0.0.1:1"}})
	defer ring.Close()
	_, err := redisstore.New(t.Context(), ring, "app:")
	require.ErrorContains(t, err, "a Ring")
}

func TestUnreachable(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	defer client.Close()
	_, err := redisstore.New(t.Context(), client, "app:")
	require.ErrorContains(t, err, "redisstore: ")
	var op *net.OpError
	require.True(t, errors.As(err, &op), "the cause is kept: %v", err)
}

// A server that lets nobody in answers INFO by an error as well, which alone
// would be a warning.
func TestRefused(t *testing.T) {
	r := engines.StartRedis(t, "--user", "app", "on", ">right", "~app:*", "+@all", "--user", "keyless", "on", ">right", "+@all")
	for _, tt := range []struct{ user, password, database, want string }{
		{"app", "right", "0", ""},
		{"app", "wrong", "0", "WRONGPASS"},
		{"app", "right", "99", "DB index"},
		{"keyless", "right", "0", "NOPERM"},
	} {
		options, err := redis.ParseURL("redis://" + tt.user + ":" + tt.password + "@" + r.Addr + "/" + tt.database)
		require.NoError(t, err)
		client := redis.NewClient(options)
		defer client.Close()
		_, err = redisstore.New(t.Context(), client, "app:")
		if tt.want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, tt.want)
		}
	}
}

// The server's clock decides, not the application's: an expiry travels as the
// time that is left.
func TestServerClockDecides(t *testing.T) {
	r := engines.StartRedis(t)
	s, client := open(t, &redis.Options{Addr: r.Addr})
	rec := &arguments{}
	client.AddHook(rec)
	require.NoError(t, s.CommitCtx(t.Context(), "s", nil, time.Now().Add(time.Hour)))
	require.NoError(t, s.CommitGrant(t.Context(), "g", "", core.Record{Version: "v1", Expiry: time.Now().Add(time.Hour)}))
	require.Len(t, rec.last, 2)
	for _, ms := range rec.last {
		require.InDelta(t, time.Hour.Milliseconds(), ms, 5000)
	}
}

type arguments struct {
	recorder
	last []any
}

func (a *arguments) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "evalsha" {
			a.last = append(a.last, cmd.Args()[len(cmd.Args())-1])
		}
		return next(ctx, cmd)
	}
}
