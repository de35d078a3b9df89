package memstore_test

import (
	"testing"

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
}

func BenchmarkStore(b *testing.B) {
	storetest.Benchmark(b, func(b *testing.B) storetest.Store { return memstore.New() })
}
