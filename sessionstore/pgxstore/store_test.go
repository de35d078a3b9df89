package pgxstore_test

import (
	"database/sql"
	"testing"

	"github.com/alexedwards/scs/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/internal/testall"
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

func openDB(t testing.TB, url string) (*pgxstore.Store, *sql.DB) {
	t.Helper()
	db, err := sql.Open("pgx", url)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	db.SetMaxOpenConns(8)
	db.SetMaxIdleConns(8)
	s, err := pgxstore.NewDB(t.Context(), db)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s, db
}

func TestStore(t *testing.T) {
	p := engines.StartPostgres(t)
	for server, url := range map[string]string{"direct": p.URL(), "behind pgbouncer": engines.StartPgBouncer(t, p).URL()} {
		ofPool, _ := open(t, url)
		ofDB, _ := openDB(t, url)
		for name, s := range map[string]*pgxstore.Store{"New": ofPool, "NewDB": ofDB} {
			t.Run(name+" "+server, func(t *testing.T) {
				if name != "New" || server != "direct" {
					testall.Long(t)
				}
				storetest.RunSessions(t, func(t *testing.T) scs.CtxStore { return s })
				storetest.RunGrants(t, func(t *testing.T) core.GrantStore { return s })
				storetest.RunLister(t, func(t *testing.T) storetest.Lister { return s })
			})
		}
	}
}
