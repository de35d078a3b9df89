package mysqlstore_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/sessionstore/storetest"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
	"github.com/stretchr/testify/require"
)

func BenchmarkStore(b *testing.B) {
	s, _ := open(b, engines.StartMariaDB(b).DSN())
	storetest.Benchmark(b, func(b *testing.B) storetest.Store { return s })
}

// What an authenticated request asks of MariaDB, next to the bare SELECT, which
// the driver prepares at every call unless it interpolates.
func BenchmarkFind(b *testing.B) {
	m := engines.StartMariaDB(b)
	s, prepares := open(b, m.DSN())
	_, interpolates := open(b, m.DSN()+"?interpolateParams=true")
	require.NoError(b, s.Commit("s", make([]byte, 200), time.Now().Add(time.Hour)))
	for name, db := range map[string]*sql.DB{"raw SELECT": prepares, "raw SELECT, interpolated": interpolates} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var data []byte
				if err := db.QueryRowContext(b.Context(), `SELECT data FROM mxm_sessions WHERE token = ?`, []byte("s")).Scan(&data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
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
	s, db := open(b, engines.StartMariaDB(b, "--innodb-buffer-pool-size=1G").DSN())
	bare, err := db.PrepareContext(b.Context(), `SELECT data FROM mxm_sessions WHERE token = ?`)
	require.NoError(b, err)
	defer bare.Close()
	storetest.BenchmarkGrowth(b, s, storetest.Engine{
		Load: func(ctx context.Context, tokens []string, data []byte, expiry time.Time) error {
			const batch = 1000
			for len(tokens) > 0 {
				n := min(batch, len(tokens))
				var args []any
				for _, token := range tokens[:n] {
					args = append(args, []byte(token), data, expiry.UTC())
				}
				if _, err := db.ExecContext(ctx, `INSERT INTO mxm_sessions VALUES (?, ?, ?)`+strings.Repeat(`, (?, ?, ?)`, n-1), args...); err != nil {
					return err
				}
				tokens = tokens[n:]
			}
			_, err := db.ExecContext(ctx, `ANALYZE TABLE mxm_sessions`)
			return err
		},
		Read: func(ctx context.Context, token string) error {
			var data []byte
			return bare.QueryRowContext(ctx, []byte(token)).Scan(&data)
		},
		Size: func(ctx context.Context) (size int64, err error) {
			err = db.QueryRowContext(ctx, `SELECT data_length + index_length FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'mxm_sessions'`).Scan(&size)
			return size, err
		},
	})
}
