package core

import (
	"fmt"
	"hash/maphash"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// The memory of a process is bounded: the longest idle go first, who was not
// used for a day goes, and who is in flight stays.
func TestKeepersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ks := &keepers{seed: maphash.MakeSeed(), start: time.Now()}
		busy := ks.locked("busy")
		busy.flight = &flight{}
		busy.mu.Unlock()
		shard := ks.shard("busy")
		n := 0
		another := func() *keeper { // in the same shard
			for ; ; n++ {
				if sub := fmt.Sprint(n); ks.shard(sub) == shard && ks.find(sub) == nil {
					k := ks.locked(sub)
					k.memory = &grant{}
					k.mu.Unlock()
					return k
				}
			}
		}
		first := another()
		for range keepersPerShard * 3 / 2 {
			time.Sleep(time.Second)
			another()
			require.LessOrEqual(t, len(*shard.all.Load()), keepersPerShard)
		}
		require.Greater(t, len(*shard.all.Load()), keepersPerShard/2)
		require.Same(t, busy, ks.find("busy"))
		require.Nil(t, ks.find(first.sub))
		require.True(t, first.evicted)

		time.Sleep(rememberFor + time.Second)
		last := another()
		require.Len(t, *shard.all.Load(), 2)
		require.Same(t, busy, ks.find("busy"))
		require.Same(t, last, ks.find(last.sub))
	})
}
