//go:build unix

package linearizable

import (
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/pgxstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
	"github.com/stretchr/testify/require"
)

// openPostgres opens the store of a pool and the one of a database/sql.DB.
func openPostgres(t *testing.T, url string) []core.GrantStore {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url+"&pool_max_conns=16")
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	ofPool, err := pgxstore.New(t.Context(), pool)
	require.NoError(t, err)
	t.Cleanup(func() { ofPool.Close() })
	db, err := sql.Open("pgx", url)
	require.NoError(t, err)
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	ofDB, err := pgxstore.NewDB(t.Context(), db)
	require.NoError(t, err)
	t.Cleanup(func() { ofDB.Close() })
	return []core.GrantStore{ofPool, ofDB}
}

func through(p *engines.Proxy, s *engines.Postgres) string {
	return strings.Replace(s.URL(), s.Addr, p.Addr, 1)
}

func TestPostgres(t *testing.T) {
	server := engines.StartPostgres(t)
	t.Run("connections cut", func(t *testing.T) {
		proxy := engines.StartProxy(t, server.Addr)
		record(t, openPostgres(t, through(proxy, server)), cutOften(proxy), withDeletes).requireLegal()
	})
	t.Run("server killed", func(t *testing.T) {
		record(t, openPostgres(t, server.URL()), killAFewTimes(server), withDeletes).requireLegal()
	})
	stores := openPostgres(t, server.URL())
	requireMutantsConvicted(t, stores[0], stores[1])
}

func TestPostgresFailover(t *testing.T) {
	primary := engines.StartPostgres(t)
	proxy, replication := engines.StartProxy(t, primary.Addr), engines.StartProxy(t, primary.Addr)
	standby := engines.StartStandby(t, replication.Addr)
	awaitStandby(t, primary, "async")
	requireFailoverAsDocumented(t, openPostgres(t, through(proxy, primary)), everyKey, func(lag func()) {
		replication.SetDown(true)
		lag()
		primary.Kill()
		standby.Promote()
		proxy.SetTarget(standby.Addr)
	})
}

// With synchronous replication, the model is told of no failover.
func TestPostgresSynchronousFailover(t *testing.T) {
	primary := engines.StartPostgres(t, "synchronous_standby_names=*")
	proxy := engines.StartProxy(t, primary.Addr)
	standby := engines.StartStandby(t, primary.Addr)
	awaitStandby(t, primary, "sync")
	record(t, openPostgres(t, through(proxy, primary)), func(*run) {
		time.Sleep(time.Second)
		primary.Kill()
		standby.Promote()
		proxy.SetTarget(standby.Addr)
		time.Sleep(time.Second)
	}, withDeletes).requireLegal()
}

func awaitStandby(t *testing.T, primary *engines.Postgres, state string) {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), primary.URL())
	require.NoError(t, err)
	defer pool.Close()
	require.Eventually(t, func() bool {
		var follows bool
		err := pool.QueryRow(t.Context(), `SELECT replay_lsn >= pg_current_wal_lsn() FROM pg_stat_replication WHERE sync_state = $1`, state).Scan(&follows)
		return err == nil && follows
	}, 20*time.Second, 20*time.Millisecond, "the standby does not follow")
}
