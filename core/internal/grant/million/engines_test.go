package million_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/memstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/mysqlstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/pgxstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/redisstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/sqlitestore"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

var engineStarters = map[string]func(t *testing.T) engine{
	"memory": func(t *testing.T) engine {
		s := memstore.New()
		return engine{s, func(ctx context.Context, records map[string]core.Record) error {
			for key, r := range records {
				if err := s.CommitGrant(ctx, key, "", r); err != nil {
					return err
				}
			}
			return nil
		}}
	},
	"sqlite": func(t *testing.T) engine {
		path := filepath.Join(t.TempDir(), "million.db")
		s, err := sqlitestore.Open(path)
		require.NoError(t, err)
		t.Cleanup(func() { s.Close() })
		db, err := sql.Open("sqlite", path)
		require.NoError(t, err)
		t.Cleanup(func() { db.Close() })
		return engine{s, func(ctx context.Context, records map[string]core.Record) error {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer tx.Rollback()
			for key, r := range records {
				if _, err := tx.ExecContext(ctx, `INSERT INTO mxm_grants (key, data, version, expiry) VALUES (?, ?, ?, 0)`, []byte(key), r.Data, r.Version); err != nil {
					return err
				}
			}
			return tx.Commit()
		}}
	},
	"redis": func(t *testing.T) engine {
		return ofRedis(t, redis.NewClient(&redis.Options{Addr: engines.StartRedis(t).Addr, ContextTimeoutEnabled: true}))
	},
	"redis-cluster": func(t *testing.T) engine {
		c := engines.StartRedisCluster(t, "--client-output-buffer-limit", "replica 0 0 0")
		return ofRedis(t, redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs(), ContextTimeoutEnabled: true}))
	},
	"postgres": func(t *testing.T) engine {
		pool, err := pgxpool.New(t.Context(), engines.StartPostgres(t).URL())
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		s, err := pgxstore.New(t.Context(), pool)
		require.NoError(t, err)
		t.Cleanup(func() { s.Close() })
		return engine{s, func(ctx context.Context, records map[string]core.Record) error {
			var rows [][]any
			for key, r := range records {
				rows = append(rows, []any{[]byte(key), r.Data, r.Version})
			}
			_, err := pool.CopyFrom(ctx, pgx.Identifier{"mxm_grants"}, []string{"key", "data", "version"}, pgx.CopyFromRows(rows))
			return err
		}}
	},
	"mariadb": func(t *testing.T) engine {
		db, err := sql.Open("mysql", engines.StartMariaDB(t, "--innodb-buffer-pool-size=1G").DSN()+"?interpolateParams=true")
		require.NoError(t, err)
		t.Cleanup(func() { db.Close() })
		db.SetMaxIdleConns(20)
		s, err := mysqlstore.New(t.Context(), db)
		require.NoError(t, err)
		t.Cleanup(func() { s.Close() })
		return engine{s, func(ctx context.Context, records map[string]core.Record) error {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer tx.Rollback()
			var args []any
			flush := func() error {
				if len(args) == 0 {
					return nil
				}
				_, err := tx.ExecContext(ctx, `INSERT INTO mxm_grants (grant_key, data, version) VALUES (?, ?, ?)`+strings.Repeat(`, (?, ?, ?)`, len(args)/3-1), args...)
				args = nil
				return err
			}
			for key, r := range records {
				if args = append(args, []byte(key), r.Data, []byte(r.Version)); len(args) == 3*500 {
					if err := flush(); err != nil {
						return err
					}
				}
			}
			if err := flush(); err != nil {
				return err
			}
			return tx.Commit()
		}}
	},
}

func ofRedis(t *testing.T, client redis.UniversalClient) engine {
	t.Cleanup(func() { client.Close() })
	s, err := redisstore.New(t.Context(), client, "app:")
	require.NoError(t, err)
	return engine{s, func(ctx context.Context, records map[string]core.Record) error {
		_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for key, r := range records {
				p.HSet(ctx, "app:grant:"+key, "v", r.Version, "d", r.Data)
			}
			return nil
		})
		return err
	}}
}
