package pgxstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
	"github.com/stretchr/testify/require"
)

func BenchmarkStore(b *testing.B) {
	s, _ := open(b, engines.StartPostgres(b).URL())
	storetest.Benchmark(b, func(b *testing.B) storetest.Store { return s })
}

// What an authenticated request asks of PostgreSQL, next to the bare SELECT.
func BenchmarkFind(b *testing.B) {
	p := engines.StartPostgres(b)
	s, pool := open(b, p.URL())
	unnamed, _ := open(b, p.URL()+"&default_query_exec_mode=exec")
	ofDB, _ := openDB(b, p.URL())
	require.NoError(b, s.Commit("s", make([]byte, 200), time.Now().Add(time.Hour)))
	b.Run("raw SELECT", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var data []byte
			if err := pool.QueryRow(b.Context(), `SELECT data FROM mxm_sessions WHERE token = $1`, []byte("s")).Scan(&data); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, s := range map[string]storetest.Store{"store": s, "store, as behind a pooler": unnamed, "store, NewDB": ofDB} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := s.FindCtx(b.Context(), "s"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkGrowth(b *testing.B) {
	s, pool := open(b, engines.StartPostgres(b).URL())
	storetest.BenchmarkGrowth(b, s, storetest.Engine{
		Load: func(ctx context.Context, tokens []string, data []byte, expiry time.Time) error {
			_, err := pool.CopyFrom(ctx, pgx.Identifier{"mxm_sessions"}, []string{"token", "data", "expiry"},
				pgx.CopyFromSlice(len(tokens), func(i int) ([]any, error) { return []any{[]byte(tokens[i]), data, expiry}, nil }))
			for _, query := range []string{`VACUUM ANALYZE mxm_sessions`, `CHECKPOINT`} {
				if err == nil {
					_, err = pool.Exec(ctx, query)
				}
			}
			return err
		},
		Read: func(ctx context.Context, token string) error {
			var data []byte
			return pool.QueryRow(ctx, `SELECT data FROM mxm_sessions WHERE token = $1`, []byte(token)).Scan(&data)
		},
		Size: func(ctx context.Context) (size int64, err error) {
			err = pool.QueryRow(ctx, `SELECT pg_total_relation_size('mxm_sessions')`).Scan(&size)
			return size, err
		},
	})
}
