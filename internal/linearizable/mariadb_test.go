//go:build unix

package linearizable

import (
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/mysqlstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
	"github.com/stretchr/testify/require"
)

// openMariaDB opens the store of two instances, through addr.
func openMariaDB(t *testing.T, server *engines.MariaDB, addr string) (stores []core.GrantStore) {
	t.Helper()
	for range 2 {
		db, err := sql.Open("mysql", strings.Replace(server.DSN(), server.Addr, addr, 1))
		require.NoError(t, err)
		t.Cleanup(func() { db.Close() })
		db.SetMaxOpenConns(16)
		db.SetMaxIdleConns(16)
		s, err := mysqlstore.New(t.Context(), db)
		require.NoError(t, err)
		t.Cleanup(func() { s.Close() })
		stores = append(stores, s)
	}
	return stores
}

func TestMariaDB(t *testing.T) {
	server := engines.StartMariaDB(t)
	t.Run("connections cut", func(t *testing.T) {
		proxy := engines.StartProxy(t, server.Addr)
		record(t, openMariaDB(t, server, proxy.Addr), cutOften(proxy), withDeletes).requireLegal()
	})
	t.Run("server killed", func(t *testing.T) {
		record(t, openMariaDB(t, server, server.Addr), killAFewTimes(server), withDeletes).requireLegal()
	})
	stores := openMariaDB(t, server, server.Addr)
	requireMutantsConvicted(t, stores[0], stores[1])
}

func TestMariaDBFailover(t *testing.T) {
	primary := engines.StartMariaDB(t)
	proxy, replication := engines.StartProxy(t, primary.Addr), engines.StartProxy(t, primary.Addr)
	replica := engines.StartReplica(t, replication.Addr)
	requireFailoverAsDocumented(t, openMariaDB(t, primary, proxy.Addr), everyKey, func(lag func()) {
		replication.SetDown(true)
		lag()
		primary.Kill()
		replica.Promote()
		proxy.SetTarget(replica.Addr)
	})
}

// With semi-synchronous replication, the model is told of no failover.
func TestMariaDBSemiSynchronousFailover(t *testing.T) {
	primary := engines.StartMariaDB(t, "--rpl-semi-sync-master-enabled=ON", "--rpl-semi-sync-master-wait-point=AFTER_SYNC", "--rpl-semi-sync-master-timeout=3600000")
	proxy := engines.StartProxy(t, primary.Addr)
	replica := engines.StartReplica(t, primary.Addr, "--rpl-semi-sync-slave-enabled=ON")
	admin, err := sql.Open("mysql", primary.DSN())
	require.NoError(t, err)
	defer admin.Close()
	require.Eventually(t, func() bool {
		var name string
		var replicas int
		err := admin.QueryRowContext(t.Context(), `SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_master_clients'`).Scan(&name, &replicas)
		return err == nil && replicas == 1
	}, 20*time.Second, 20*time.Millisecond, "the replica does not follow")
	record(t, openMariaDB(t, primary, proxy.Addr), func(*run) {
		time.Sleep(time.Second)
		primary.Kill()
		replica.Promote()
		proxy.SetTarget(replica.Addr)
		time.Sleep(time.Second)
	}, withDeletes).requireLegal()
}
