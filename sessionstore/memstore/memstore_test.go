package memstore_test

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/memstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStore(t *testing.T) {
	storetest.RunSessions(t, func(t *testing.T) scs.CtxStore { return memstore.New() })
	storetest.RunGrants(t, func(t *testing.T) core.GrantStore { return memstore.New() })
	storetest.RunLister(t, func(t *testing.T) storetest.Lister { return memstore.New() })
}

func BenchmarkStore(b *testing.B) {
	storetest.Benchmark(b, func(b *testing.B) storetest.Store { return memstore.New() })
}

// The raw read is a bare map of the same size, and the copy that a caller may keep.
func BenchmarkGrowth(b *testing.B) {
	s, bare, taken := memstore.New(), make(map[string][]byte), int64(0)
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	storetest.BenchmarkGrowth(b, s, storetest.Engine{
		Load: func(ctx context.Context, tokens []string, data []byte, expiry time.Time) error {
			before := heap()
			for _, token := range tokens {
				if err := s.CommitCtx(ctx, strings.Clone(token), data, expiry); err != nil {
					return err
				}
			}
			taken += heap() - before
			for _, token := range tokens {
				bare[strings.Clone(token)] = bytes.Clone(data)
			}
			return nil
		},
		Read: func(_ context.Context, token string) error {
			if len(bytes.Clone(bare[token])) == 0 {
				return errors.New("a session is missing")
			}
			return nil
		},
		Size: func(context.Context) (int64, error) { return taken, nil },
	})
}
