package mysqlstore_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/internal/testall"
	"github.com/mxmconnect/mxmconnect/sessionstore/mysqlstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
	"github.com/stretchr/testify/require"
)

func TestManyInstancesStartAtOnce(t *testing.T) {
	m := engines.StartMariaDB(t)
	for range 5 {
		m.Admin(`DROP TABLE IF EXISTS mxm_sessions, mxm_grants, mxm_schema`)
		var wg sync.WaitGroup
		for range 12 {
			wg.Go(func() {
				db, err := sql.Open("mysql", m.DSN())
				if err != nil {
					t.Error(err)
					return
				}
				defer db.Close()
				s, err := mysqlstore.New(t.Context(), db)
				if err != nil {
					t.Error(err)
					return
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
}

// Whoever migrates otherwise gives the application no right to create tables.
func TestSchemaMigratedByOthers(t *testing.T) {
	m := engines.StartMariaDB(t)
	owner := connect(t, m.DSN()+"?multiStatements=true")
	_, err := owner.ExecContext(t.Context(), mysqlstore.Schema+mysqlstore.Schema) // twice does no harm
	require.NoError(t, err)
	m.Admin(`CREATE USER web@'127.0.0.1'`)
	m.Admin(`GRANT SELECT, INSERT, UPDATE, DELETE ON mxm_sessions TO web@'127.0.0.1'`)
	m.Admin(`GRANT SELECT, INSERT, UPDATE, DELETE ON mxm_grants TO web@'127.0.0.1'`)
	m.Admin(`GRANT SELECT ON mxm_schema TO web@'127.0.0.1'`)
	s, _ := open(t, "web@tcp("+m.Addr+")/app")
	require.NoError(t, s.CommitGrant(t.Context(), "g", "", core.Record{Version: "v1"}))
	require.Equal(t, "v1", version(t, s, "g"))

	m.Admin(`UPDATE mxm_schema SET version = 2`)
	_, err = mysqlstore.New(t.Context(), connect(t, m.DSN()))
	require.ErrorContains(t, err, "version 2")
}

// Each of these breaks a promise of the contract, and New says which setting it is.
func TestRefusedSettings(t *testing.T) {
	m := engines.StartMariaDB(t)
	for settings, want := range map[string]string{
		"?tx_isolation=%27READ-UNCOMMITTED%27": "READ-UNCOMMITTED",
		"?autocommit=0":                        "autocommit",
		"?tx_read_only=1":                      "read-only",
		"?sql_mode=%27%27":                     "STRICT_TRANS_TABLES",
		"?sql_mode=%27STRICT_TRANS_TABLES,EMPTY_STRING_IS_NULL%27": "EMPTY_STRING_IS_NULL",
		"?tx_isolation=%27READ-UNCOMMITTED%27&sql_mode=%27ANSI%27": "STRICT_TRANS_TABLES",
	} {
		_, err := mysqlstore.New(t.Context(), connect(t, m.DSN()+settings))
		require.ErrorContains(t, err, "mysqlstore: ", settings)
		require.ErrorContains(t, err, want, settings)
	}
	m.Admin(`SET GLOBAL binlog_format = 'STATEMENT'`)
	_, err := mysqlstore.New(t.Context(), connect(t, m.DSN()+"?tx_isolation=%27READ-COMMITTED%27"))
	require.ErrorContains(t, err, "binlog_format")
	s, _ := open(t, m.DSN())
	require.NoError(t, s.CommitGrant(t.Context(), "g", "", core.Record{Version: "v1"}))
	_, err = mysqlstore.New(t.Context(), connect(t, strings.TrimSuffix(m.DSN(), "app")))
	require.ErrorContains(t, err, "No database selected")
}

// Without transactions two statements of one batch can be half done, and a crash
// breaks the table.
func TestMyISAMIsRefused(t *testing.T) {
	m := engines.StartMariaDB(t)
	db := connect(t, m.DSN()+"?multiStatements=true")
	_, err := db.ExecContext(t.Context(), strings.ReplaceAll(mysqlstore.Schema, "InnoDB", "MyISAM"))
	require.NoError(t, err)
	_, err = mysqlstore.New(t.Context(), db)
	require.ErrorContains(t, err, "MyISAM")
	m.Admin(`ALTER TABLE mxm_sessions ENGINE = InnoDB`)
	_, err = mysqlstore.New(t.Context(), db)
	require.ErrorContains(t, err, "mxm_grants is MyISAM")
	m.Admin(`ALTER TABLE mxm_grants ENGINE = InnoDB`)
	open(t, m.DSN())
}

func TestGaleraIsRefused(t *testing.T) {
	const provider = "/usr/lib/galera/libgalera_smm.so"
	if _, err := os.Stat(provider); err != nil {
		testall.Missing(t, "Galera", "galera-4")
	}
	m := engines.StartMariaDB(t, "--wsrep-on=ON", "--wsrep-provider="+provider, "--wsrep-cluster-address=gcomm://",
		"--wsrep-node-address=127.0.0.1:"+freePort(t), "--binlog-format=ROW", "--wsrep-provider-options=gcache.size=1M")
	_, err := mysqlstore.New(t.Context(), connect(t, m.DSN()))
	require.ErrorContains(t, err, "wsrep_on")
}

func TestWarnsWhenCommitsMayBeLost(t *testing.T) {
	m := engines.StartMariaDB(t)
	for _, setting := range []struct{ set, want string }{
		{"innodb_flush_log_at_trx_commit = 1", ""},
		{"innodb_flush_log_at_trx_commit = 2", "innodb_flush_log_at_trx_commit is 2"},
		{"innodb_flush_log_at_trx_commit = 0", "innodb_flush_log_at_trx_commit is 0"},
		{"innodb_flush_log_at_trx_commit = 3", ""},
		{"sync_binlog = 0", "sync_binlog is 0"},
		{"sync_binlog = 1", ""},
	} {
		m.Admin(`SET GLOBAL ` + setting.set)
		var log bytes.Buffer
		before := slog.Default()
		slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
		open(t, m.DSN())
		slog.SetDefault(before)
		if setting.want == "" {
			require.Empty(t, log.String(), setting.set)
		} else {
			require.Contains(t, log.String(), "level=WARN", setting.set)
			require.Contains(t, log.String(), setting.want, setting.set)
		}
	}
}

// Every call is one statement in one message, but for the creation of a record
// where one is. A new connection prepares what it is asked first.
func TestOneRoundTrip(t *testing.T) {
	m := engines.StartMariaDB(t)
	ctx, end := t.Context(), time.Now().Add(time.Hour)
	db := connect(t, m.DSN()+"?multiStatements=true")
	_, err := db.ExecContext(ctx, mysqlstore.Schema+fillExpired)
	require.NoError(t, err)
	s, pool := open(t, m.DSN())
	pool.SetMaxOpenConns(1)
	require.Eventually(t, func() bool { // its first sweep is over
		var n int
		require.NoError(t, db.QueryRowContext(ctx, `SELECT count(*) FROM mxm_grants`).Scan(&n))
		return n == 0
	}, 20*time.Second, 10*time.Millisecond)
	calls := []struct {
		name string
		want int
		do   func() error
	}{
		{"Commit", 1, func() error { return s.CommitCtx(ctx, "s", []byte("data"), end) }},
		{"Find", 1, func() error { _, _, err := s.FindCtx(ctx, "s"); return err }},
		{"Delete", 1, func() error { return s.DeleteCtx(ctx, "s") }},
		{"CommitGrant, new", 1, func() error { return s.CommitGrant(ctx, "g", "", core.Record{Version: "v1"}) }},
		{"CommitGrant, replaced", 1, func() error { return s.CommitGrant(ctx, "g", "v1", core.Record{Version: "v2"}) }},
		{"CommitGrant, conflict", 1, func() error { return wantConflict(s.CommitGrant(ctx, "g", "v1", core.Record{Version: "v3"})) }},
		{"CommitGrant, there is one", 3, func() error { return wantConflict(s.CommitGrant(ctx, "g", "", core.Record{Version: "v4"})) }},
		{"FindGrant", 1, func() error { _, _, err := s.FindGrant(ctx, "g"); return err }},
		{"DeleteGrant", 1, func() error { return s.DeleteGrant(ctx, "g") }},
	}
	for _, call := range calls { // the first one prepares the statements of its connection
		require.NoError(t, call.do(), call.name)
	}
	for _, call := range calls {
		asked, prepared := status(t, db, "Questions"), status(t, db, "Com_stmt_prepare")
		require.NoError(t, call.do(), call.name)
		require.Equal(t, call.want, status(t, db, "Questions")-asked-2, call.name) // 2: these questions
		require.Equal(t, prepared, status(t, db, "Com_stmt_prepare"), call.name)
	}
}

func wantConflict(err error) error {
	if errors.Is(err, core.ErrConflict) {
		return nil
	}
	return fmt.Errorf("%v, want ErrConflict", err)
}

const fillExpired = `INSERT INTO mxm_sessions SELECT CONCAT('s', seq), 'x', UTC_TIMESTAMP(6) - INTERVAL 1 SECOND FROM seq_1_to_2500;
	INSERT INTO mxm_grants SELECT CONCAT('g', seq), 'x', 'v', UTC_TIMESTAMP(6) - INTERVAL 1 SECOND FROM seq_1_to_2500;`

func TestDeletesWhatExpired(t *testing.T) {
	m := engines.StartMariaDB(t)
	_, db := open(t, m.DSN()+"?multiStatements=true")
	_, err := db.ExecContext(t.Context(), fillExpired+`
		INSERT INTO mxm_sessions VALUES ('live', 'x', UTC_TIMESTAMP(6) + INTERVAL 1 HOUR), ('tombstone', NULL, UTC_TIMESTAMP(6) + INTERVAL 1 HOUR);
		INSERT INTO mxm_grants VALUES ('live', 'x', 'v', UTC_TIMESTAMP(6) + INTERVAL 1 HOUR), ('for ever', 'x', 'v', NULL)`)
	require.NoError(t, err)
	for range 3 { // several instances at once
		open(t, m.DSN())
	}
	require.Eventually(t, func() bool {
		var sessions, grants int
		require.NoError(t, db.QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM mxm_sessions), (SELECT count(*) FROM mxm_grants)`).Scan(&sessions, &grants))
		require.GreaterOrEqual(t, sessions, 2)
		require.GreaterOrEqual(t, grants, 2)
		return sessions == 2 && grants == 2
	}, 20*time.Second, 20*time.Millisecond)
}

// A commit locks its row and then changes the index of expiries. A sweep that
// comes between the two waits, and leaves the session that begins afresh.
func TestSweepAndCommitDoNotDeadlock(t *testing.T) {
	m := engines.StartMariaDB(t)
	for _, isolation := range []string{"REPEATABLE-READ", "READ-COMMITTED"} {
		t.Run(isolation, func(t *testing.T) {
			ctx, dsn := t.Context(), m.DSN()+"?multiStatements=true&tx_isolation=%27"+isolation+"%27"
			db := connect(t, dsn)
			_, err := db.ExecContext(ctx, mysqlstore.Schema+`
				REPLACE INTO mxm_sessions SELECT CONCAT('live', seq), 'x', UTC_TIMESTAMP(6) + INTERVAL 1 HOUR FROM seq_1_to_2500;
				REPLACE INTO mxm_sessions SELECT CONCAT('s', seq), 'x', UTC_TIMESTAMP(6) - INTERVAL 1 SECOND FROM seq_1_to_3;
				ANALYZE TABLE mxm_sessions`) // so that an index is worth using
			require.NoError(t, err)
			before := status(t, db, "Innodb_deadlocks")
			commit, err := db.BeginTx(ctx, nil)
			require.NoError(t, err)
			defer commit.Rollback()
			_, err = commit.ExecContext(ctx, `SELECT * FROM mxm_sessions WHERE token = 's2' FOR UPDATE`)
			require.NoError(t, err)
			s, _ := open(t, dsn) // sweeps at once
			require.Eventually(t, func() bool { return status(t, db, "Innodb_row_lock_current_waits") == 1 }, 10*time.Second, 10*time.Millisecond)
			_, err = commit.ExecContext(ctx, `UPDATE mxm_sessions SET expiry = UTC_TIMESTAMP(6) + INTERVAL 1 HOUR WHERE token = 's2'`)
			require.NoError(t, err)
			require.NoError(t, commit.Commit())
			require.Eventually(t, func() bool {
				var n int
				require.NoError(t, db.QueryRowContext(ctx, `SELECT count(*) FROM mxm_sessions WHERE token IN ('s1', 's3')`).Scan(&n))
				return n == 0
			}, 10*time.Second, 10*time.Millisecond)
			_, found, err := s.Find("s2")
			require.NoError(t, err)
			require.True(t, found)
			require.Equal(t, before, status(t, db, "Innodb_deadlocks"))
		})
	}
}

// Many create a record that has expired: the server breaks deadlocks among them,
// and each learns nevertheless whether it was the one.
func TestManyReplaceWhatExpired(t *testing.T) {
	s, db := open(t, engines.StartMariaDB(t).DSN())
	before := status(t, db, "Innodb_deadlocks")
	for round := range 30 {
		key := fmt.Sprint("g", round)
		require.NoError(t, s.CommitGrant(t.Context(), key, "", core.Record{Version: "old", Expiry: time.Now().Add(-time.Second)}))
		var won atomic.Int64
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				switch err := s.CommitGrant(t.Context(), key, "", core.Record{Version: fmt.Sprint("v", i)}); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, core.ErrConflict):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		require.EqualValues(t, 1, won.Load())
	}
	require.Greater(t, status(t, db, "Innodb_deadlocks"), before, "there was none, and this tests nothing")
}

// Close cancels a deletion that hangs, and returns when nothing runs any more.
func TestCloseEndsTheDeletion(t *testing.T) {
	m := engines.StartMariaDB(t)
	db := connect(t, m.DSN()+"?multiStatements=true")
	// Not by a store: what it had begun to delete might still wait, too.
	_, err := db.ExecContext(t.Context(), mysqlstore.Schema+fillExpired)
	require.NoError(t, err)
	tx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	defer tx.Rollback()
	_, err = tx.ExecContext(t.Context(), `SELECT * FROM mxm_sessions FOR UPDATE`)
	require.NoError(t, err)
	s, err := mysqlstore.New(t.Context(), connect(t, m.DSN()))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return status(t, db, "Innodb_row_lock_current_waits") == 1 }, 10*time.Second, 10*time.Millisecond)
	require.True(t, runs("mysqlstore.(*Store).sweep("))
	start := time.Now()
	require.NoError(t, s.Close())
	require.False(t, runs("mysqlstore.(*Store).sweep("))
	require.Less(t, time.Since(start), 5*time.Second)
}

// The instance whose clock is an hour wrong agrees with the others: an expiry
// travels as the time that is left, and only the server's clock is compared.
func TestServerClockDecides(t *testing.T) {
	s, db := open(t, engines.StartMariaDB(t).DSN())
	require.NoError(t, s.Commit("s", nil, time.Now().Add(time.Hour)))
	require.NoError(t, s.CommitGrant(t.Context(), "g", "", core.Record{Version: "v1", Expiry: time.Now().Add(time.Hour)}))
	// As if the server's clock went an hour and a half ahead of ours.
	for _, table := range []string{"mxm_sessions", "mxm_grants"} {
		_, err := db.ExecContext(t.Context(), `UPDATE `+table+` SET expiry = expiry - INTERVAL 90 MINUTE`)
		require.NoError(t, err)
	}
	_, found, err := s.Find("s")
	require.NoError(t, err)
	require.False(t, found)
	require.ErrorIs(t, s.CommitGrant(t.Context(), "g", "v1", core.Record{Version: "v2"}), core.ErrConflict)
	require.NoError(t, s.CommitGrant(t.Context(), "g", "", core.Record{Version: "v3", Expiry: time.Now().Add(time.Hour)}))
	var seconds float64
	require.NoError(t, db.QueryRowContext(t.Context(), `SELECT TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), expiry) / 1e6 FROM mxm_grants`).Scan(&seconds))
	require.InDelta(t, 3600, seconds, 5)
}

// What does not fit is an error, and nothing is cut.
func TestTooLong(t *testing.T) {
	s, _ := open(t, engines.StartMariaDB(t).DSN())
	long := strings.Repeat("x", 256)
	require.ErrorContains(t, s.Commit(long, nil, time.Now().Add(time.Hour)), "Data too long")
	require.ErrorContains(t, s.CommitGrant(t.Context(), long, "", core.Record{Version: "v1"}), "Data too long")
	require.ErrorContains(t, s.CommitGrant(t.Context(), "g", "", core.Record{Version: long}), "Data too long")
	_, found, err := s.FindGrant(t.Context(), "g")
	require.NoError(t, err)
	require.False(t, found)
}

func status(t *testing.T, db *sql.DB, name string) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(context.Background(), `SHOW GLOBAL STATUS LIKE '`+name+`'`).Scan(&name, &n))
	return n
}

// runs reports whether a goroutine is in that function.
func runs(function string) bool {
	stacks := make([]byte, 1<<20)
	return bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte(function))
}
