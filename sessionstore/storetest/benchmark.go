package storetest

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
)

// Benchmark measures a store: what an authenticated request costs it, and how
// compare-and-swap bears contention.
func Benchmark(b *testing.B, newStore func(b *testing.B) Store) {
	ctx := context.Background()
	end := time.Now().Add(24 * time.Hour)
	data := make([]byte, 200) // a user ID, a stamp and a deadline

	b.Run("find session", func(b *testing.B) {
		s, token := newStore(b), unique()
		check(b, s.CommitCtx(ctx, token, data, end))
		b.ReportAllocs()
		for b.Loop() {
			_, _, err := s.FindCtx(ctx, token)
			check(b, err)
		}
	})
	b.Run("commit session", func(b *testing.B) {
		s, token := newStore(b), unique()
		b.ReportAllocs()
		for b.Loop() {
			check(b, s.CommitCtx(ctx, token, data, end))
		}
	})
	b.Run("find grant", func(b *testing.B) {
		s, key := newStore(b), unique()
		check(b, s.CommitGrant(ctx, key, "", core.Record{Data: data, Version: "v1"}))
		b.ReportAllocs()
		for b.Loop() {
			_, _, err := s.FindGrant(ctx, key)
			check(b, err)
		}
	})
	b.Run("replace grant", func(b *testing.B) {
		s, key, old := newStore(b), unique(), ""
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			version := strconv.Itoa(i + 1)
			check(b, s.CommitGrant(ctx, key, old, core.Record{Data: data, Version: version}))
			old = version
		}
	})
	b.Run("replace one grant, contended", func(b *testing.B) {
		s, key := newStore(b), unique()
		var conflicts, versions atomic.Int64
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				for {
					r, _, err := s.FindGrant(ctx, key)
					check(b, err)
					err = s.CommitGrant(ctx, key, r.Version, core.Record{Data: data, Version: strconv.FormatInt(versions.Add(1), 10)})
					if err == nil {
						break
					}
					if !errors.Is(err, core.ErrConflict) {
						b.Error(err)
						return
					}
					conflicts.Add(1)
				}
			}
		})
		b.ReportMetric(float64(conflicts.Load())/float64(b.N), "conflicts/op")
	})
}

func check(b *testing.B, err error) {
	if err != nil {
		b.Helper()
		b.Fatal(err)
	}
}
