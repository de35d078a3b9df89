package pgxstore_test

import (
	"fmt"
	"testing"
	"time"

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
	for name, s := range map[string]storetest.Store{"store": s, "store, as behind a pooler": unnamed} {
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

// How many bytes of the disk a session takes, indexes included.
func BenchmarkBytesPerSession(b *testing.B) {
	s, pool := open(b, engines.StartPostgres(b).URL())
	const n = 10_000
	for i := range n {
		require.NoError(b, s.Commit(fmt.Sprintf("%043d", i), make([]byte, 200), time.Now().Add(time.Hour)))
	}
	var size float64
	require.NoError(b, pool.QueryRow(b.Context(), `SELECT pg_total_relation_size('mxm_sessions')::float8`).Scan(&size))
	b.ReportMetric(size/n, "B/session")
	b.ReportMetric(0, "ns/op")
}
