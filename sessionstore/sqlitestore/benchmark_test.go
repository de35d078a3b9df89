package sqlitestore_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/sessionstore/storetest"
	"github.com/stretchr/testify/require"
)

func BenchmarkStore(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "bench.db"))
	storetest.Benchmark(b, func(b *testing.B) storetest.Store { return s })
}

// What an authenticated request asks of SQLite, next to the bare SELECT.
func BenchmarkFind(b *testing.B) {
	path := filepath.Join(b.TempDir(), "bench.db")
	s := open(b, path)
	require.NoError(b, s.Commit("s", make([]byte, 200), time.Now().Add(time.Hour)))
	db, err := sql.Open("sqlite", "file:"+path+dsn)
	require.NoError(b, err)
	defer db.Close()
	b.Run("raw SELECT", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var data []byte
			if err := db.QueryRowContext(b.Context(), `SELECT data FROM mxm_sessions WHERE token = ?1`, []byte("s")).Scan(&data); err != nil {
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

// The raw read is on connections that are set as those of the store.
func BenchmarkGrowth(b *testing.B) {
	path := filepath.Join(b.TempDir(), "bench.db")
	s := open(b, path)
	raw, err := sql.Open("sqlite", "file:"+path+dsn)
	require.NoError(b, err)
	defer raw.Close()
	loader, err := sql.Open("sqlite", "file:"+path+"?_pragma=synchronous(OFF)&_pragma=cache_size(-500000)")
	require.NoError(b, err)
	defer loader.Close()
	storetest.BenchmarkGrowth(b, s, storetest.Engine{
		Load: func(ctx context.Context, tokens []string, data []byte, expiry time.Time) error {
			tx, err := loader.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer tx.Rollback()
			insert, err := tx.PrepareContext(ctx, `INSERT INTO mxm_sessions VALUES (?1, ?2, ?3)`)
			if err != nil {
				return err
			}
			defer insert.Close()
			for _, token := range tokens {
				if _, err := insert.ExecContext(ctx, []byte(token), data, expiry.UnixMicro()); err != nil {
					return err
				}
			}
			if err := tx.Commit(); err != nil {
				return err
			}
			_, err = loader.ExecContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`)
			return err
		},
		Read: func(ctx context.Context, token string) error {
			var data []byte
			return raw.QueryRowContext(ctx, `SELECT data FROM mxm_sessions WHERE token = ?1`, []byte(token)).Scan(&data)
		},
		Size: func(context.Context) (int64, error) {
			info, err := os.Stat(path)
			if err != nil {
				return 0, err
			}
			return info.Size(), nil
		},
	})
}
