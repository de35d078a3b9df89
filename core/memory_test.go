package core_test

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/stretchr/testify/require"
)

// The contract is proved by sessionstore/storetest, which memstore runs on
// NewMemory. Here is only what is Memory's own.

func TestMemorySweepsWhatExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, size = 4096, 8 << 10 // 32 MiB in all
		ctx, m := t.Context(), core.NewMemory()
		before := heap()
		for i := range n {
			expiry := time.Now().Add(time.Minute)
			switch k, b := strconv.Itoa(i), make([]byte, size); i % 2 {
			case 0:
				require.NoError(t, m.CommitCtx(ctx, k, b, expiry))
			case 1:
				require.NoError(t, m.CommitGrant(ctx, k, "", core.Record{Data: b, Version: k, Expiry: expiry}))
			}
		}
		require.Greater(t, heap()-before, int64(n*size*9/10), "the test must see the memory it measures")

		time.Sleep(3 * time.Minute)
		for i := range 4096 { // enough to touch every shard
			k := fmt.Sprint("late", i)
			require.NoError(t, m.CommitCtx(ctx, k, nil, time.Now().Add(time.Hour)))
			require.NoError(t, m.CommitGrant(ctx, k, "", core.Record{Version: k}))
		}
		require.Less(t, heap()-before, int64(n*size/10))
		runtime.KeepAlive(m)
	})
}

func TestMemoryTombstoneIsSweptToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 20_000
		ctx, m := t.Context(), core.NewMemory()
		pad := string(bytes.Repeat([]byte{'k'}, 1<<10)) // a tombstone holds its key and nothing else
		before := heap()
		for i := range n {
			k := fmt.Sprint(pad, i)
			require.NoError(t, m.CommitCtx(ctx, k, make([]byte, 4<<10), time.Now().Add(time.Minute)))
			require.NoError(t, m.DeleteCtx(ctx, k))
		}
		require.Less(t, heap()-before, int64(n*(2<<10)), "a tombstone keeps no data")
		time.Sleep(2 * time.Hour)
		for i := range 4096 {
			require.NoError(t, m.CommitCtx(ctx, fmt.Sprint("late", i), nil, time.Now().Add(time.Hour)))
		}
		require.Less(t, heap()-before, int64(n*(1<<10)/4))
		runtime.KeepAlive(m)
	})
}

// A map keeps the room of what is deleted from it, and so does its clone.
func TestMemoryShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 200_000
		ctx, m := t.Context(), core.NewMemory()
		before := heap()
		for i := range n {
			require.NoError(t, m.CommitCtx(ctx, strconv.Itoa(i), nil, time.Now().Add(time.Minute)))
		}
		full := heap() - before
		time.Sleep(3 * time.Minute)
		for i := range 4096 {
			require.NoError(t, m.CommitCtx(ctx, fmt.Sprint("late", i), nil, time.Now().Add(time.Hour)))
		}
		require.Less(t, heap()-before, full/10)
		runtime.KeepAlive(m)
	})
}

func TestMemoryFindAllocatesOnce(t *testing.T) {
	ctx, m := context.Background(), core.NewMemory()
	require.NoError(t, m.CommitCtx(ctx, "session", make([]byte, 200), time.Now().Add(time.Hour)))
	require.NoError(t, m.CommitGrant(ctx, "grant", "", core.Record{Data: make([]byte, 200), Version: "1"}))
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { m.FindCtx(ctx, "session") }), 1.0)
	require.LessOrEqual(t, testing.AllocsPerRun(1000, func() { m.FindGrant(ctx, "grant") }), 1.0)
}

func TestMemoryListsEachKeyOnce(t *testing.T) {
	ctx, m := t.Context(), core.NewMemory()
	var want, got []string
	for i := range 1000 {
		want = append(want, fmt.Sprint("key ", i))
		require.NoError(t, m.CommitGrant(ctx, want[i], "", core.Record{Version: "1"}))
		require.NoError(t, m.CommitCtx(ctx, fmt.Sprint("session ", i), nil, time.Now().Add(time.Hour)))
	}
	require.NoError(t, m.CommitGrant(ctx, "expired", "", core.Record{Version: "1", Expiry: time.Now().Add(-time.Second)}))
	for cursor := ""; ; {
		page, next, err := m.ListGrants(ctx, cursor, 3)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page), 3)
		got = append(got, page...)
		if cursor = next; next == "" {
			break
		}
		if len(page) > 0 { // the key that the cursor names may vanish
			require.NoError(t, m.DeleteGrant(ctx, page[len(page)-1]))
		}
	}
	require.ElementsMatch(t, want, got)
	_, _, err := m.ListGrants(ctx, "not a cursor of Memory", 3)
	require.NoError(t, err)
}

func TestMemoryIsSafeForConcurrentUse(t *testing.T) {
	ctx, m := t.Context(), core.NewMemory()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				k := strconv.Itoa(i % 10)
				m.CommitCtx(ctx, k, []byte(k), time.Now().Add(time.Duration(i%3)*time.Millisecond))
				if b, ok, _ := m.FindCtx(ctx, k); ok && string(b) != k {
					t.Errorf("session %s holds %q", k, b)
				}
				m.DeleteCtx(ctx, strconv.Itoa((i+g)%10))
				r, _, _ := m.FindGrant(ctx, k)
				m.CommitGrant(ctx, k, r.Version, core.Record{Data: []byte(k), Version: fmt.Sprint(g, "-", i)})
			}
		})
	}
	wg.Wait()
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

func BenchmarkMemoryFind(b *testing.B) {
	for _, n := range []int{1, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			ctx, m := context.Background(), core.NewMemory()
			for i := range n {
				m.CommitCtx(ctx, strconv.Itoa(i), make([]byte, 200), time.Now().Add(time.Hour))
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					m.FindCtx(ctx, "0")
				}
			})
		})
	}
}
