package pgxstore_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/pgxstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
	"github.com/stretchr/testify/require"
)

func TestServerKilledAndRestartedUnderLoad(t *testing.T) {
	p := engines.StartPostgres(t)
	s, _ := open(t, p.URL())
	o := storetest.RunOutage(t, s, func() {
		p.Kill()
		p.Start()
	})
	require.Positive(t, o.Failed, "the load did not notice")
	t.Logf("%+v", o)
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
	for name, mode := range map[string]string{"prepared": "cache_statement", "unnamed": "exec"} {
		t.Run(name, func(t *testing.T) {
			proxy := engines.StartProxy(t, p.Addr)
			s, _ := open(t, strings.Replace(p.URL(), p.Addr, proxy.Addr, 1)+"&default_query_exec_mode="+mode)
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

// R-ST-7: grants are read from the primary only.
func TestReplicaIsRefused(t *testing.T) {
	p := engines.StartPostgres(t)
	p.Stop()
	require.NoError(t, os.WriteFile(filepath.Join(p.Dir, "standby.signal"), nil, 0o644))
	p.Start()
	pool, err := pgxpool.New(t.Context(), p.URL())
	require.NoError(t, err)
	defer pool.Close()
	_, err = pgxstore.New(t.Context(), pool)
	require.ErrorContains(t, err, "replica")
}

// A full disk: a tablespace of a few megabytes, filled to the brim.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	dir, err := os.MkdirTemp("", "mxm-full-")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=4m,mode=0777", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("no small file system here: %v %s", err, out)
	}
	t.Cleanup(func() { exec.Command("umount", "-l", dir).Run() })
	space := filepath.Join(dir, "space")
	require.NoError(t, os.Mkdir(space, 0o777))
	p := engines.StartPostgres(t)
	info, err := os.Stat(p.Dir)
	require.NoError(t, err)
	require.NoError(t, chownLike(space, info))

	_, pool := open(t, p.URL())
	ctx, end := t.Context(), time.Now().Add(time.Hour)
	_, err = pool.Exec(ctx, `CREATE TABLESPACE small LOCATION '`+space+`'`)
	require.NoError(t, err)
	_, err = pool.Exec(ctx, `ALTER TABLE mxm_sessions SET TABLESPACE small; ALTER TABLE mxm_grants SET TABLESPACE small`, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	s, _ := open(t, p.URL())
	require.NoError(t, s.CommitGrant(ctx, "g", "", core.Record{Data: []byte("data"), Version: "v1"}))
	for i := 0; err == nil && i < 5000; i++ {
		err = s.CommitCtx(ctx, "fill"+string(rune('a'+i%26))+time.Now().String(), []byte(strings.Repeat(time.Now().String(), 30)), end)
	}
	require.ErrorContains(t, err, "53100", "disk_full")
	err = nil
	last := "v1"
	for i := 0; err == nil && i < 5000; i++ { // until the page it is on is full, too
		next := last + "x"
		if len(next) > 100 {
			next = "v1"
		}
		if err = s.CommitGrant(ctx, "g", last, core.Record{Data: make([]byte, 1500), Version: next}); err == nil {
			last = next
		}
	}
	require.ErrorContains(t, err, "53100")
	require.Equal(t, last, version(t, s, "g"), "nothing is half done")
}

// A failover to a server that lacks the last write. The store says plainly what
// is there: the versions show the regression to whoever remembers more.
func TestFailoverThatLosesTheLastWrite(t *testing.T) {
	p := engines.StartPostgres(t)
	proxy := engines.StartProxy(t, p.Addr)
	s, _ := open(t, strings.Replace(p.URL(), p.Addr, proxy.Addr, 1))
	ctx, end := t.Context(), time.Now().Add(time.Hour)
	require.NoError(t, s.CommitGrant(ctx, "g", "", core.Record{Version: "v1"}))
	require.NoError(t, s.CommitCtx(ctx, "s", []byte("data"), end))

	// The standby has everything up to here.
	standby := engines.StartPostgres(t)
	cmd := exec.Command("psql", "--no-psqlrc", "-q", "-v", "ON_ERROR_STOP=1", standby.URL())
	cmd.Stdin = strings.NewReader(p.Dump())
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)

	require.NoError(t, s.CommitGrant(ctx, "g", "v1", core.Record{Version: "v2"}))
	require.NoError(t, s.DeleteCtx(ctx, "s"))
	p.Kill()
	proxy.SetTarget(standby.Addr)

	require.Eventually(t, func() bool { // the pool still holds connections to the dead one
		_, _, err := s.FindGrant(ctx, "g")
		return err == nil
	}, 10*time.Second, 10*time.Millisecond)
	require.Equal(t, "v1", version(t, s, "g"))
	require.ErrorIs(t, s.CommitGrant(ctx, "g", "v2", core.Record{Version: "v3"}), core.ErrConflict, "who remembers v2 learns that it is gone")
	require.NoError(t, s.CommitGrant(ctx, "g", "v1", core.Record{Version: "v3"}))
	_, found, err := s.FindCtx(ctx, "s")
	require.NoError(t, err)
	require.True(t, found, "as documented: a session that had just ended may be back")
}

// R-ST-4: a dump holds no token under which a session is found.
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
	pool, err := pgxpool.New(t.Context(), "postgres://app@127.0.0.1:1/app")
	require.NoError(t, err)
	defer pool.Close()
	_, err = pgxstore.New(t.Context(), pool)
	require.ErrorContains(t, err, "pgxstore: ")
	require.ErrorContains(t, err, "127.0.0.1:1")
}

func version(t *testing.T, s core.GrantStore, key string) string {
	t.Helper()
	r, found, err := s.FindGrant(t.Context(), key)
	require.NoError(t, err)
	require.True(t, found)
	return r.Version
}
