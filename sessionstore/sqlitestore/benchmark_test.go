package sqlitestore_test

import (
	"database/sql"
	"fmt"
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

// How many bytes of the disk a session takes, its index included.
func BenchmarkBytesPerSession(b *testing.B) {
	path := filepath.Join(b.TempDir(), "bench.db")
	s := open(b, path)
	const n = 10_000
	for i := range n {
		require.NoError(b, s.Commit(fmt.Sprintf("%043d", i), make([]byte, 200), time.Now().Add(time.Hour)))
	}
	require.NoError(b, s.Close()) // which moves the log into the database
	info, err := os.Stat(path)
	require.NoError(b, err)
	b.ReportMetric(float64(info.Size())/n, "B/session")
	b.ReportMetric(0, "ns/op")
}
