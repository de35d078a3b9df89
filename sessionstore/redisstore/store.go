package redisstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/redis/go-redis/v9"
)

// Store keeps sessions and grants in Redis. It is safe for concurrent use and
// starts no goroutine.
type Store struct {
	client redis.UniversalClient
	prefix string
}

var (
	_ scs.CtxStore     = (*Store)(nil)
	_ core.GrantStore  = (*Store)(nil)
	_ core.GrantLister = (*Store)(nil)
)

// New keeps sessions and grants in the server, cluster or sentinel group behind
// client, under keys that begin with prefix. It reads a key, so it is an error
// when the server cannot be reached or refuses, as with a wrong password, and
// warns through slog.Default when the server, or a master of the cluster, may
// evict keys, or does not say. A [redis.Ring] is refused, and so is a
// [redis.ClusterClient] that reads from replicas.
func New(ctx context.Context, client redis.UniversalClient, prefix string) (*Store, error) {
	cluster, isCluster := client.(*redis.ClusterClient)
	if _, ok := client.(*redis.Ring); ok {
		return nil, errors.New("redisstore: a Ring looks for a key elsewhere while its server is away, and brings back sessions that have ended and tokens that are spent; use a cluster")
	}
	if isCluster && cluster.Options().ReadOnly { // RouteByLatency and RouteRandomly set it, too
		return nil, errors.New("redisstore: a client with ReadOnly, RouteByLatency or RouteRandomly reads from replicas, where a session that has ended is found until they catch up; leave them unset")
	}
	s := &Store{client: client, prefix: prefix}
	if _, _, err := s.FindCtx(ctx, ""); err != nil {
		return nil, err
	}
	check := func(ctx context.Context, c redis.UniversalClient) error {
		info, err := c.Info(ctx, "memory").Result()
		var refused redis.Error
		switch {
		case errors.As(err, &refused):
			slog.WarnContext(ctx, "redisstore: the server does not say whether it may evict keys; its maxmemory-policy must be noeviction", "error", err)
			return nil
		case err != nil:
			return fmt.Errorf("redisstore: %w", err)
		}
		if policy := field(info, "maxmemory_policy"); field(info, "maxmemory") != "0" && policy != "noeviction" && policy != "" {
			slog.WarnContext(ctx, "redisstore: the server may evict grants and the tombstones of sessions; its maxmemory-policy must be noeviction", "maxmemory_policy", policy)
		}
		return nil
	}
	var err error
	if isCluster {
		var mu sync.Mutex // ForEachMaster is concurrent, a logger's writer may not be
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			return check(ctx, c)
		})
	} else {
		err = check(ctx, client)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Close does nothing: the client belongs to the application.
func (s *Store) Close() error { return nil }

// field returns the value of a field of INFO.
func field(info, name string) string {
	_, rest, _ := strings.Cut("\n"+info, "\n"+name+":")
	value, _, _ := strings.Cut(rest, "\r")
	return value
}

// left is how long an expiry is away in milliseconds, and a century at most, which
// every server can add to its clock. It is not positive when the expiry has passed.
func left(expiry time.Time) int64 {
	const century = 100 * 365 * 24 * time.Hour
	return min(time.Until(expiry), century).Milliseconds()
}

func (s *Store) run(ctx context.Context, script *redis.Script, key string, args ...any) (any, error) {
	v, err := script.Run(ctx, s.client, []string{key}, args...).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, s.failed(ctx, err)
	}
	return v, nil
}

// failed is the error of a command. When a master cannot be reached, a cluster
// client goes on trying it for a minute (go-redis issue 3979), so it is told to
// ask the cluster who serves now. It does so at most five times a second.
func (s *Store) failed(ctx context.Context, err error) error {
	var answer redis.Error
	if cluster, ok := s.client.(*redis.ClusterClient); ok && !errors.As(err, &answer) {
		cluster.ReloadState(ctx)
	}
	return fmt.Errorf("redisstore: %w", err)
}
