package pgxstore_test

import (
	"testing"

	"github.com/alexedwards/scs/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/pgxstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, url string) (*pgxstore.Store, *pgxpool.Pool) {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	s, err := pgxstore.New(t.Context(), pool)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s, pool
}

func TestStore(t *testing.T) {
	s, _ := open(t, engines.StartPostgres(t).URL())
	storetest.RunSessions(t, func(t *testing.T) scs.CtxStore { return s })
	storetest.RunGrants(t, func(t *testing.T) core.GrantStore { return s })
}

func TestStoreBehindPgBouncer(t *testing.T) {
	b := engines.StartPgBouncer(t, engines.StartPostgres(t))
	s, _ := open(t, b.URL())
	storetest.RunSessions(t, func(t *testing.T) scs.CtxStore { return s })
	storetest.RunGrants(t, func(t *testing.T) core.GrantStore { return s })
}
