//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/memstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/pgxstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/redisstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/sqlitestore"
)

type store interface {
	scs.CtxStore
	core.GrantStore
}

// openStore opens what an instance keeps sessions and grants in.
func openStore(ctx context.Context, url string) (s store, closeStore func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	scheme, rest, _ := strings.Cut(url, ":")
	switch scheme {
	case "memory":
		return memstore.New(), func() {}, nil
	case "sqlite":
		s, err := sqlitestore.Open(rest)
		if err != nil {
			return nil, nil, err
		}
		return s, func() { _ = s.Close() }, nil
	case "redis", "rediss":
		o, err := redis.ParseURL(url)
		if err != nil {
			return nil, nil, err
		}
		o.ContextTimeoutEnabled = true
		redis.SetLogger(quiet{})
		c := redis.NewClient(o)
		s, err := redisstore.New(ctx, c, "soak:")
		if err != nil {
			_ = c.Close()
			return nil, nil, err
		}
		return s, func() { _ = c.Close() }, nil
	case "postgres", "postgresql":
		pool, err := pgxpool.New(ctx, url)
		if err != nil {
			return nil, nil, err
		}
		s, err := pgxstore.New(ctx, pool)
		if err != nil {
			pool.Close()
			return nil, nil, err
		}
		return s, func() { _ = s.Close(); pool.Close() }, nil
	}
	return nil, nil, fmt.Errorf("there is no store %q", scheme)
}

// quiet keeps go-redis's own lines out of the log.
type quiet struct{}

func (quiet) Printf(_ context.Context, format string, v ...any) {
	slog.Debug(fmt.Sprintf(format, v...))
}

// lastWrite is a mutant: who writes last wins, as in most session stores.
const lastWrite = "lastwrite"

type lastWriteWins struct{ core.GrantStore }

func (s lastWriteWins) CommitGrant(ctx context.Context, key, _ string, r core.Record) error {
	for {
		stored, _, err := s.FindGrant(ctx, key)
		if err != nil {
			return err
		}
		if err := s.GrantStore.CommitGrant(ctx, key, stored.Version, r); !errors.Is(err, core.ErrConflict) {
			return err
		}
	}
}
