package grant

import (
	"fmt"
	"hash/maphash"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
	"github.com/stretchr/testify/require"
)

// The memory of a process is bounded: the longest idle go first, who was not
// used for a day goes, and who is in flight stays.
func TestEntriesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		es := &entries{seed: maphash.MakeSeed(), clock: musixmatch.SystemClock()}
		busy := es.locked("busy")
		busy.flight = &flight{}
		busy.mu.Unlock()
		shard := es.shard("busy")
		n := 0
		another := func() *entry { // in the same shard
			for ; ; n++ {
				if sub := fmt.Sprint(n); es.shard(sub) == shard && es.find(sub) == nil {
					e := es.locked(sub)
					e.memory = &grant{}
					e.mu.Unlock()
					return e
				}
			}
		}
		first := another()
		for range entriesPerShard * 3 / 2 {
			time.Sleep(time.Second)
			another()
			require.LessOrEqual(t, len(*shard.all.Load()), entriesPerShard)
		}
		require.Greater(t, len(*shard.all.Load()), entriesPerShard/2)
		require.Same(t, busy, es.find("busy"))
		require.Nil(t, es.find(first.sub))
		require.True(t, first.evicted)

		time.Sleep(rememberFor + time.Second)
		last := another()
		require.Len(t, *shard.all.Load(), 2)
		require.Same(t, busy, es.find("busy"))
		require.Same(t, last, es.find(last.sub))
	})
}
