package mysqlstore_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/mysqlstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
	"github.com/stretchr/testify/require"
)

func TestServerKilledAndRestartedUnderLoad(t *testing.T) {
	m := engines.StartMariaDB(t)
	s, _ := open(t, m.DSN())
	o := storetest.RunOutage(t, s, func() {
		m.Kill()
		m.Start()
	})
	require.Positive(t, o.Failed, "the load did not notice")
	t.Logf("%+v", o)
}

func TestServerHangs(t *testing.T) {
	m := engines.StartMariaDB(t)
	s, _ := open(t, m.DSN())
	require.NoError(t, s.CommitGrant(t.Context(), "g", "", core.Record{Version: "v1"}))
	m.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	require.ErrorIs(t, s.CommitGrant(ctx, "g", "v1", core.Record{Version: "v2"}), context.DeadlineExceeded)
	_, _, err := s.FindCtx(ctx, "s")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(start), 2*time.Second)
	m.Resume()
	require.Contains(t, []string{"v1", "v2"}, version(t, s, "g"), "the caller cannot know, and reads back")
}

// The connection is cut between the request and the answer: the caller gets an
// error that is not a conflict, and reads back what happened.
func TestConnectionCut(t *testing.T) {
	m := engines.StartMariaDB(t)
	proxy := engines.StartProxy(t, m.Addr)
	s, _ := open(t, strings.Replace(m.DSN(), m.Addr, proxy.Addr, 1))
	ctx, key := t.Context(), "g"
	require.NoError(t, s.CommitGrant(ctx, key, "", core.Record{Version: "version-1"}))
	require.NoError(t, s.CommitGrant(ctx, key, "version-1", core.Record{Version: "version-2"}))

	proxy.CutBefore("version-3")
	err := s.CommitGrant(ctx, key, "version-2", core.Record{Version: "version-3"})
	require.Error(t, err)
	require.NotErrorIs(t, err, core.ErrConflict)
	require.Equal(t, "version-2", version(t, s, key), "the server never saw it")

	proxy.CutAfter("version-4")
	err = s.CommitGrant(ctx, key, "version-2", core.Record{Version: "version-4"})
	require.Error(t, err)
	require.NotErrorIs(t, err, core.ErrConflict)
	require.Equal(t, "version-4", version(t, s, key), "it was done, and only the answer was lost")
	require.Equal(t, 2, proxy.Cuts())

	proxy.CutAfter("version-5")
	err = s.CommitGrant(ctx, "other", "", core.Record{Version: "version-5"})
	require.Error(t, err)
	require.NotErrorIs(t, err, core.ErrConflict, "it is its own record that would be in its way")
	require.Equal(t, "version-5", version(t, s, "other"))
}

func TestReadOnlyServer(t *testing.T) {
	m := engines.StartMariaDB(t)
	s, _ := open(t, m.DSN())
	ctx, end := t.Context(), time.Now().Add(time.Hour)
	require.NoError(t, s.CommitGrant(ctx, "g", "", core.Record{Version: "v1"}))
	require.NoError(t, s.CommitCtx(ctx, "s", []byte("data"), end))
	m.Admin(`SET GLOBAL read_only = ON`)
	require.ErrorContains(t, s.CommitCtx(ctx, "other", nil, end), "--read-only")
	require.ErrorContains(t, s.CommitGrant(ctx, "g", "v1", core.Record{Version: "v2"}), "--read-only")
	require.ErrorContains(t, s.DeleteCtx(ctx, "s"), "--read-only")
	require.Equal(t, "v1", version(t, s, "g"))
	_, found, err := s.FindCtx(ctx, "s")
	require.NoError(t, err)
	require.True(t, found)

	_, err = mysqlstore.New(ctx, connect(t, m.DSN()))
	require.ErrorContains(t, err, "read-only")
	m.Admin(`SET GLOBAL read_only = OFF`)
	require.NoError(t, s.CommitGrant(ctx, "g", "v1", core.Record{Version: "v2"}))
}

// R-ST-7: grants are read from the primary only.
func TestReplicaIsRefused(t *testing.T) {
	replica := engines.StartReplica(t, engines.StartMariaDB(t).Addr)
	_, err := mysqlstore.New(t.Context(), connect(t, replica.DSN()))
	require.ErrorContains(t, err, "the server is read-only")
}

// A full disk, for any user: the files of both tables cannot grow further.
func TestFullDisk(t *testing.T) {
	m := engines.StartMariaDB(t, "--innodb-flush-method=fsync")
	s, _ := open(t, m.DSN())
	ctx, end := t.Context(), time.Now().Add(time.Hour)
	require.NoError(t, s.CommitGrant(ctx, "g", "", core.Record{Data: make([]byte, 1900), Version: "v1"}))
	require.NoError(t, s.CommitCtx(ctx, "s", []byte("data"), end))
	m.Admin(`INSERT INTO mxm_sessions SELECT SHA2(seq, 256), REPEAT('x', 1900), UTC_TIMESTAMP() + INTERVAL 1 HOUR FROM seq_1_to_7000`)
	m.Admin(`INSERT INTO mxm_grants SELECT SHA2(seq, 256), REPEAT('x', 1900), 'v', UTC_TIMESTAMP() + INTERVAL 1 HOUR FROM seq_1_to_7000`)
	m.Stop()
	m.LimitFiles(24 << 20)
	m.Start()

	var err error
	for i := 0; err == nil && i < 10_000; i++ {
		err = s.CommitCtx(ctx, fmt.Sprint("fill", i), make([]byte, 1900), end)
	}
	require.ErrorContains(t, err, "is full")
	err = nil
	for i := 0; err == nil && i < 10_000; i++ {
		err = s.CommitGrant(ctx, fmt.Sprint("fill", i), "", core.Record{Data: make([]byte, 1900), Version: "v1"})
	}
	require.ErrorContains(t, err, "is full")
	err = s.CommitGrant(ctx, "g", "v1", core.Record{Data: make([]byte, 1<<20), Version: "v2"})
	require.ErrorContains(t, err, "is full")
	require.NotErrorIs(t, err, core.ErrConflict)
	require.Equal(t, "v1", version(t, s, "g"), "nothing is half done")
	_, found, err := s.FindCtx(ctx, "s")
	require.NoError(t, err)
	require.True(t, found, "reading goes on")
}

// A failover to a replica that lagged loses writes that were acknowledged. The
// store says plainly what is there: the versions show the regression to whoever
// remembers more, and nothing else is lost.
func TestFailoverThatLosesTheLastWrite(t *testing.T) {
	primary := engines.StartMariaDB(t)
	proxy, replication := engines.StartProxy(t, primary.Addr), engines.StartProxy(t, primary.Addr)
	replica := engines.StartReplica(t, replication.Addr)
	s, _ := open(t, strings.Replace(primary.DSN(), primary.Addr, proxy.Addr, 1))
	ctx, end := t.Context(), time.Now().Add(time.Hour)
	require.NoError(t, s.CommitCtx(ctx, "ends", []byte("data"), end))
	require.NoError(t, s.CommitGrant(ctx, "g", "", core.Record{Version: "v1"}))
	arrived := connect(t, replica.DSN())
	require.Eventually(t, func() bool {
		var n int
		err := arrived.QueryRowContext(ctx, `SELECT count(*) FROM mxm_grants`).Scan(&n)
		return err == nil && n == 1
	}, 20*time.Second, 20*time.Millisecond, "the replica does not follow")

	// The replica falls behind, the primary goes on and dies.
	replication.SetDown(true)
	require.NoError(t, s.CommitGrant(ctx, "g", "v1", core.Record{Version: "v2"}))
	require.NoError(t, s.CommitCtx(ctx, "begins", []byte("data"), end))
	require.NoError(t, s.DeleteCtx(ctx, "ends"))
	primary.Kill()
	replica.Promote()
	proxy.SetTarget(replica.Addr)

	require.Eventually(t, func() bool { // the pool still holds connections to the dead one
		_, _, err := s.FindGrant(ctx, "g")
		return err == nil
	}, 10*time.Second, 10*time.Millisecond)
	require.Equal(t, "v1", version(t, s, "g"))
	require.ErrorIs(t, s.CommitGrant(ctx, "g", "v2", core.Record{Version: "v3"}), core.ErrConflict, "who remembers v2 learns that it is gone")
	require.NoError(t, s.CommitGrant(ctx, "g", "v1", core.Record{Version: "v3"}))
	_, found, err := s.FindCtx(ctx, "begins")
	require.NoError(t, err)
	require.False(t, found, "as documented: a session that had just begun is gone")
	_, found, err = s.FindCtx(ctx, "ends")
	require.NoError(t, err)
	require.True(t, found, "as documented: a session that had just ended may be back")
	require.NoError(t, s.DeleteCtx(ctx, "ends"))
	require.NoError(t, s.CommitCtx(ctx, "ends", nil, end))
	_, found, err = s.FindCtx(ctx, "ends")
	require.NoError(t, err)
	require.False(t, found)
}

// With semi-synchronous replication that waits as documented, what the replica
// lacks was not acknowledged.
func TestSemiSynchronousFailoverLosesNothing(t *testing.T) {
	primary := engines.StartMariaDB(t, "--rpl-semi-sync-master-enabled=ON", "--rpl-semi-sync-master-wait-point=AFTER_SYNC", "--rpl-semi-sync-master-timeout=3600000")
	proxy, replication := engines.StartProxy(t, primary.Addr), engines.StartProxy(t, primary.Addr)
	replica := engines.StartReplica(t, replication.Addr, "--rpl-semi-sync-slave-enabled=ON")
	admin := connect(t, primary.DSN())
	require.Eventually(t, func() bool { return status(t, admin, "Rpl_semi_sync_master_clients") == 1 }, 20*time.Second, 20*time.Millisecond)
	s, _ := open(t, strings.Replace(primary.DSN(), primary.Addr, proxy.Addr, 1))
	ctx := t.Context()
	require.NoError(t, s.CommitGrant(ctx, "g", "", core.Record{Version: "v1"}))

	replication.SetDown(true)
	short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.CommitGrant(short, "g", "v1", core.Record{Version: "v2"}), context.DeadlineExceeded)
	require.Equal(t, "v1", version(t, s, "g"), "nobody sees what may be lost")
	primary.Kill()
	replica.Promote()
	proxy.SetTarget(replica.Addr)
	require.Eventually(t, func() bool { // the pool still holds connections to the dead one
		r, _, err := s.FindGrant(ctx, "g")
		return err == nil && r.Version == "v1"
	}, 10*time.Second, 10*time.Millisecond)
}

// R-ST-4: a dump holds no token under which a session is found.
func TestDumpHoldsNoSessionToken(t *testing.T) {
	m := engines.StartMariaDB(t)
	s, _ := open(t, m.DSN())
	sessions := storetest.HashedSessions(s)
	ctx, err := sessions.Load(t.Context(), "")
	require.NoError(t, err)
	sessions.Put(ctx, "user", "ada")
	token, _, err := sessions.Commit(ctx)
	require.NoError(t, err)
	require.NoError(t, s.Commit("canary-in-the-clear", nil, time.Now().Add(time.Hour)))
	dump := strings.ToLower(m.Dump())
	require.Contains(t, dump, hex.EncodeToString([]byte("canary-in-the-clear")), "the grep must see what it looks through")
	require.NotContains(t, dump, strings.ToLower(token))
	require.NotContains(t, dump, hex.EncodeToString([]byte(token)))
}

func TestUnreachable(t *testing.T) {
	_, err := mysqlstore.New(t.Context(), connect(t, "app@tcp(127.0.0.1:1)/app"))
	require.ErrorContains(t, err, "mysqlstore: ")
	require.ErrorContains(t, err, "127.0.0.1:1")
}

func version(t *testing.T, s core.GrantStore, key string) string {
	t.Helper()
	r, found, err := s.FindGrant(t.Context(), key)
	require.NoError(t, err)
	require.True(t, found)
	return r.Version
}

// freePort returns a port that nobody listens on at the moment.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}
