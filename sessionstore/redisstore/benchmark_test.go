package redisstore_test

import (
	"context"
	"slices"
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
}

func BenchmarkGrowth(b *testing.B) {
	r := engines.StartRedis(b, "--appendonly", "no")
	s, client := open(b, &redis.Options{Addr: r.Addr})
	growth(b, s, client, r)
}

// A session of a cluster is in the memory of a master and of its replica.
func BenchmarkGrowthOnCluster(b *testing.B) {
	c := engines.StartRedisCluster(b, "--appendonly", "no", "--client-output-buffer-limit", "replica 0 0 0")
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
	growth(b, openUniversal(b, client, "app:"), client, c.Nodes...)
}

func growth(b *testing.B, s storetest.Store, client redis.UniversalClient, nodes ...*engines.Redis) {
	storetest.BenchmarkGrowth(b, s, storetest.Engine{
		Load: func(ctx context.Context, tokens []string, data []byte, expiry time.Time) error {
			for chunk := range slices.Chunk(tokens, 1000) {
				if _, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
					for _, token := range chunk {
						p.Set(ctx, "app:session:"+token, "s"+string(data), time.Until(expiry))
					}
					return nil
				}); err != nil {
					return err
				}
			}
			return nil
		},
		Read: func(ctx context.Context, token string) error {
			return client.Get(ctx, "app:session:"+token).Err()
		},
		Size: func(ctx context.Context) (total int64, err error) {
			for _, node := range nodes {
				info, err := node.Client.Info(ctx, "memory").Result()
				if err != nil {
					return 0, err
				}
				_, used, _ := strings.Cut(info, "used_memory:")
				used, _, _ = strings.Cut(used, "\r")
				n, err := strconv.ParseInt(used, 10, 64)
				if err != nil {
					return 0, err
				}
				total += n
			}
			return total, nil
		},
	})
}
