package redisstore_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/sessionstore/storetest"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func BenchmarkStore(b *testing.B) {
	s, _ := open(b, &redis.Options{Addr: engines.StartRedis(b, "--appendonly", "no").Addr})
	storetest.Benchmark(b, func(b *testing.B) storetest.Store { return s })
}

// What an authenticated request asks of Redis, next to the GET that it is.
func BenchmarkFind(b *testing.B) {
	addr := engines.StartRedis(b, "--appendonly", "no").Addr
	s, client := open(b, &redis.Options{Addr: addr})
	cached, _ := open(b, &redis.Options{Addr: addr, ClientSideCacheConfig: &redis.ClientSideCacheConfig{}})
	require.NoError(b, s.Commit("s", make([]byte, 200), time.Now().Add(time.Hour)))
	b.Run("raw GET", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := client.Get(b.Context(), "app:session:s").Bytes(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("store", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := s.FindCtx(b.Context(), "s"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("store, client-side caching", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := cached.FindCtx(b.Context(), "s"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// How many bytes of the server a session takes, and the tombstone of one.
func BenchmarkBytesPerSession(b *testing.B) {
	s, client := open(b, &redis.Options{Addr: engines.StartRedis(b, "--appendonly", "no").Addr})
	n := 10_000
	if v := os.Getenv("MXM_BENCH_SESSIONS"); v != "" {
		n, _ = strconv.Atoi(v)
	}
	used := func() float64 {
		info, err := client.Info(b.Context(), "memory").Result()
		require.NoError(b, err)
		_, rest, _ := strings.Cut(info, "used_memory:")
		v, _, _ := strings.Cut(rest, "\r")
		bytes, err := strconv.ParseFloat(v, 64)
		require.NoError(b, err)
		return bytes
	}
	token := func(i int) string { return fmt.Sprintf("%043d", i) }
	empty := used()
	for i := range n {
		require.NoError(b, s.Commit(token(i), make([]byte, 200), time.Now().Add(time.Hour)))
	}
	full := used()
	for i := range n {
		require.NoError(b, s.Delete(token(i)))
	}
	b.ReportMetric((full-empty)/float64(n), "B/session")
	b.ReportMetric((used()-empty)/float64(n), "B/tombstone")
	b.ReportMetric(0, "ns/op")
}
