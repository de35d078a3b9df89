package sqlitestore_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/alexedwards/scs/v2"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/sqlitestore"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if what := os.Getenv("MXM_OTHER"); what != "" {
		fmt.Fprintln(os.Stderr, otherProcess(what, os.Getenv("MXM_DB")))
		return
	}
	goleak.VerifyTestMain(m)
}

func open(t testing.TB, path string) *sqlitestore.Store {
	t.Helper()
	s, err := sqlitestore.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestStore(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "a?b#c%20 d.db"))
	storetest.RunSessions(t, func(t *testing.T) scs.CtxStore { return s })
	storetest.RunGrants(t, func(t *testing.T) core.GrantStore { return s })
	storetest.RunLister(t, func(t *testing.T) storetest.Lister { return s })
}
