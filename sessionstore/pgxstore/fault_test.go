package pgxstore_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/pgxstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
	"github.com/stretchr/testify/require"
)

func TestServerKilledAndRestartedUnderLoad(t *testing.T) {
	p := engines.StartPostgres(t)
	ofPool, _ := open(t, p.URL())
	ofDB, _ := openDB(t, p.URL())
	for name, s := range map[string]*pgxstore.Store{"New": ofPool, "NewDB": ofDB} {
		t.Run(name, func(t *testing.T) {
			o := storetest.RunOutage(t, s, func() {
				p.Kill()
				p.Start()
			})
			require.Positive(t, o.Failed, "the load did not notice")
			t.Logf("%+v", o)
		})
	}
}

func TestPgBouncerKilledAndRestartedUnderLoad(t *testing.T) {
	b := engines.StartPgBouncer(t, engines.StartPostgres(t))
	s, _ := open(t, b.URL())
	o := storetest.RunOutage(t, s, func() {
		b.Kill()
		b.Start()
	})
	require.Positive(t, o.Failed, "the load did not notice")
	t.Logf("%+v", o)
}

func TestServerHangs(t *testing.T) {
	p := engines.StartPostgres(t)
	s, pool := open(t, p.URL())
	require.NoError(t, s.CommitGrant(t.Context(), "g", "", core.Record{Version: "v1"}))
	// A lock that is held hangs the statement as a paused server would.
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	_, err = tx.Exec(t.Context(), `SELECT 1 FROM mxm_grants FOR UPDATE`)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	require.ErrorIs(t, s.CommitGrant(ctx, "g", "v1", core.Record{Version: "v2"}), context.DeadlineExceeded)
	require.Less(t, time.Since(start), 2*time.Second)
	require.NoError(t, tx.Rollback(t.Context()))
	require.Contains(t, []string{"v1", "v2"}, version(t, s, "g"), "the caller cannot know, and reads back")
}

// The connection is cut between the request and the answer: the caller gets an
// error that is not a conflict, and reads back what happened.
func TestConnectionCut(t *testing.T) {
	p := engines.StartPostgres(t)
	ofPool := func(url string) *pgxstore.Store { s, _ := open(t, url); return s }
	ofDB := func(url string) *pgxstore.Store { s, _ := openDB(t, url); return s }
	for name, tt := range map[string]struct {
		open func(url string) *pgxstore.Store
		mode string
	}{
		"New, prepared":   {ofPool, "cache_statement"},
		"New, unnamed":    {ofPool, "exec"},
		"NewDB, prepared": {ofDB, "cache_statement"},
		"NewDB, unnamed":  {ofDB, "exec"},
	} {
		t.Run(name, func(t *testing.T) {
			proxy := engines.StartProxy(t, p.Addr)
			s := tt.open(strings.Replace(p.URL(), p.Addr, proxy.Addr, 1) + "&default_query_exec_mode=" + tt.mode)
			ctx, key := t.Context(), "g-"+name
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
		})
	}
}

func TestReadOnlyServer(t *testing.T) {
	p := engines.StartPostgres(t)
	s, pool := open(t, p.URL())
	ctx, end := t.Context(), time.Now().Add(time.Hour)
	require.NoError(t, s.CommitGrant(ctx, "g", "", core.Record{Version: "v1"}))
	require.NoError(t, s.CommitCtx(ctx, "s", []byte("data"), end))
	_, err := pool.Exec(ctx, `ALTER SYSTEM SET default_transaction_read_only = on`)
	require.NoError(t, err)
	_, err = pool.Exec(ctx, `SELECT pg_reload_conf()`)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		return s.CommitCtx(ctx, "other", nil, end) != nil
	}, 10*time.Second, 10*time.Millisecond)
	require.ErrorContains(t, s.CommitGrant(ctx, "g", "v1", core.Record{Version: "v2"}), "25006")
	require.ErrorContains(t, s.DeleteCtx(ctx, "s"), "25006")
	require.Equal(t, "v1", version(t, s, "g"))
	_, found, err := s.FindCtx(ctx, "s")
	require.NoError(t, err)
	require.True(t, found)

	again, err := pgxstore.New(ctx, pool)
	require.NoError(t, err, "the tables are there, and reading works")
	require.NoError(t, again.Close())
}

// Grants are read from the primary only.
func TestReplicaIsRefused(t *testing.T) {
	p := engines.StartPostgres(t)
	p.Stop()
	require.NoError(t, os.WriteFile(filepath.Join(p.Dir, "standby.signal"), nil, 0o644))
	p.Start()
	requireRefused(t, p.URL(), "replica")
}

// A full disk, for any user: both tables are in files that cannot grow further.
func TestFullDisk(t *testing.T) {
	p := engines.StartPostgres(t)
	// Four rows to a page, up to 16 MB each, which is what the write-ahead log's files have to reach.
	const fill = `INSERT INTO %s SELECT sha256(n::text::bytea), decode(repeat('ab', 1900), 'hex'), %s now() + interval '1 hour' FROM generate_series(1, 8192) n`
	s, pool := open(t, p.URL())
	ctx, end := t.Context(), time.Now().Add(time.Hour)
	for table, version := range map[string]string{"mxm_sessions": "", "mxm_grants": "'v',"} {
		_, err := pool.Exec(ctx, `ALTER TABLE `+table+` ALTER data SET STORAGE PLAIN`) // not compressed
		require.NoError(t, err)
		_, err = pool.Exec(ctx, fmt.Sprintf(fill, table, version))
		require.NoError(t, err)
	}
	require.NoError(t, s.CommitGrant(ctx, "g", "", core.Record{Data: make([]byte, 1900), Version: "v1"}))
	require.NoError(t, s.CommitCtx(ctx, "s", []byte("data"), end))
	require.NoError(t, s.Close())
	p.Stop()
	p.LimitFiles(16<<20 + 128<<10)
	p.Start()

	s, _ = open(t, p.URL())
	var err error
	for i := 0; err == nil && i < 1000; i++ {
		err = s.CommitCtx(ctx, fmt.Sprint("fill", i), make([]byte, 1900), end)
	}
	require.ErrorContains(t, err, "could not extend file")
	err = nil
	for i := 0; err == nil && i < 1000; i++ {
		err = s.CommitGrant(ctx, fmt.Sprint("fill", i), "", core.Record{Data: make([]byte, 1900), Version: "v1"})
	}
	require.ErrorContains(t, err, "could not extend file")
	err = s.CommitGrant(ctx, "g", "v1", core.Record{Data: make([]byte, 1900), Version: "v2"})
	require.ErrorContains(t, err, "could not extend file")
	require.NotErrorIs(t, err, core.ErrConflict)
	require.Equal(t, "v1", version(t, s, "g"), "nothing is half done")
	_, found, err := s.FindCtx(ctx, "s")
	require.NoError(t, err)
	require.True(t, found, "reading goes on")
}

// A failover to a standby that lagged loses writes that were acknowledged. The
// store says plainly what is there: the versions show the regression to whoever
// remembers more, and nothing else is lost.
func TestFailoverThatLosesTheLastWrite(t *testing.T) {
	primary := engines.StartPostgres(t)
	proxy, replication := engines.StartProxy(t, primary.Addr), engines.StartProxy(t, primary.Addr)
	standby := engines.StartStandby(t, replication.Addr)
	s, pool := open(t, strings.Replace(primary.URL(), primary.Addr, proxy.Addr, 1))
	ctx, end := t.Context(), time.Now().Add(time.Hour)
	require.NoError(t, s.CommitGrant(ctx, "g", "", core.Record{Version: "v1"}))
	require.NoError(t, s.CommitCtx(ctx, "ends", []byte("data"), end))
	require.Eventually(t, func() bool {
		var arrived bool
		err := pool.QueryRow(ctx, `SELECT replay_lsn >= pg_current_wal_lsn() FROM pg_stat_replication WHERE sync_state = 'async'`).Scan(&arrived)
		return err == nil && arrived
	}, 20*time.Second, 20*time.Millisecond, "the standby does not follow")

	// The standby falls behind, the primary goes on and dies.
	replication.SetDown(true)
	require.NoError(t, s.CommitGrant(ctx, "g", "v1", core.Record{Version: "v2"}))
	require.NoError(t, s.CommitCtx(ctx, "begins", []byte("data"), end))
	require.NoError(t, s.DeleteCtx(ctx, "ends"))
	primary.Kill()
	standby.Promote()
	proxy.SetTarget(standby.Addr)

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

// With synchronous replication, what the standby lacks was not acknowledged.
func TestSynchronousFailoverLosesNothing(t *testing.T) {
	primary := engines.StartPostgres(t, "synchronous_standby_names=*")
	proxy, replication := engines.StartProxy(t, primary.Addr), engines.StartProxy(t, primary.Addr)
	standby := engines.StartStandby(t, replication.Addr)
	s, _ := open(t, strings.Replace(primary.URL(), primary.Addr, proxy.Addr, 1))
	ctx := t.Context()
	require.NoError(t, s.CommitGrant(ctx, "g", "", core.Record{Version: "v1"}))

	replication.SetDown(true)
	short, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.CommitGrant(short, "g", "v1", core.Record{Version: "v2"}), context.DeadlineExceeded)
	primary.Kill()
	standby.Promote()
	proxy.SetTarget(standby.Addr)
	require.Eventually(t, func() bool { // the pool still holds connections to the dead one
		_, _, err := s.FindGrant(ctx, "g")
		return err == nil
	}, 10*time.Second, 10*time.Millisecond)
	require.Equal(t, "v1", version(t, s, "g"))
}

// A dump holds no token under which a session is found.
func TestDumpHoldsNoSessionToken(t *testing.T) {
	p := engines.StartPostgres(t)
	s, _ := open(t, p.URL())
	sessions := storetest.HashedSessions(s)
	ctx, err := sessions.Load(t.Context(), "")
	require.NoError(t, err)
	sessions.Put(ctx, "user", "ada")
	token, _, err := sessions.Commit(ctx)
	require.NoError(t, err)
	require.NoError(t, s.Commit("canary-in-the-clear", nil, time.Now().Add(time.Hour)))
	dump := p.Dump()
	require.Contains(t, dump, hexOf("canary-in-the-clear"), "the grep must see what it looks through")
	require.NotContains(t, dump, token)
	require.NotContains(t, dump, hexOf(token))
}

func TestUnreachable(t *testing.T) {
	requireRefused(t, "postgres://app@127.0.0.1:1/app", "127.0.0.1:1")
}

func version(t *testing.T, s core.GrantStore, key string) string {
	t.Helper()
	r, found, err := s.FindGrant(t.Context(), key)
	require.NoError(t, err)
	require.True(t, found)
	return r.Version
}
