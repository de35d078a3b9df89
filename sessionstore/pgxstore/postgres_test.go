package pgxstore_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/pgxstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // a driver that is not PostgreSQL's
)

func hexOf(s string) string { return hex.EncodeToString([]byte(s)) }

func TestManyInstancesStartAtOnce(t *testing.T) {
	p := engines.StartPostgres(t)
	for name, url := range map[string]string{"direct": p.URL(), "behind pgbouncer": engines.StartPgBouncer(t, p).URL()} {
		t.Run(name, func(t *testing.T) {
			for range 5 {
				_, admin := open(t, p.URL())
				_, err := admin.Exec(t.Context(), `DROP TABLE mxm_sessions, mxm_grants, mxm_schema`, pgx.QueryExecModeSimpleProtocol)
				require.NoError(t, err)
				var wg sync.WaitGroup
				for range 12 {
					wg.Go(func() {
						pool, err := pgxpool.New(t.Context(), url)
						if err != nil {
							t.Error(err)
							return
						}
						defer pool.Close()
						s, err := pgxstore.New(t.Context(), pool)
						if err != nil {
							t.Error(err)
							return
						}
						s.Close()
					})
				}
				wg.Wait()
			}
		})
	}
}

// Whoever migrates otherwise gives the application no right to create tables.
func TestSchemaMigratedByOthers(t *testing.T) {
	p := engines.StartPostgres(t)
	admin, err := pgx.Connect(t.Context(), p.URL())
	require.NoError(t, err)
	defer admin.Close(t.Context())
	_, err = admin.Exec(t.Context(), pgxstore.Schema+pgxstore.Schema+` -- twice does no harm
		CREATE ROLE app LOGIN;
		GRANT SELECT, INSERT, UPDATE, DELETE ON mxm_sessions, mxm_grants TO app;
		GRANT SELECT ON mxm_schema TO app`, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	s, _ := open(t, p.URL()+"&user=app")
	require.NoError(t, s.CommitGrant(t.Context(), "g", "", core.Record{Version: "v1"}))
	require.Equal(t, "v1", version(t, s, "g"))

	_, err = admin.Exec(t.Context(), `UPDATE mxm_schema SET version = 2`)
	require.NoError(t, err)
	pool, err := pgxpool.New(t.Context(), p.URL())
	require.NoError(t, err)
	defer pool.Close()
	_, err = pgxstore.New(t.Context(), pool)
	require.ErrorContains(t, err, "version 2")
}

func TestIsolationThatFailsWritesIsRefused(t *testing.T) {
	p := engines.StartPostgres(t)
	for _, level := range []string{"repeatable read", "serializable"} {
		requireRefused(t, p.URL()+"&default_transaction_isolation="+url.PathEscape(level), "default_transaction_isolation is "+level)
	}
}

// requireRefused wants the same error of New and of NewDB.
func requireRefused(t *testing.T, url, message string) {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), url)
	require.NoError(t, err)
	defer pool.Close()
	_, err = pgxstore.New(t.Context(), pool)
	require.ErrorContains(t, err, "pgxstore: ")
	require.ErrorContains(t, err, message)
	db, err := sql.Open("pgx", url)
	require.NoError(t, err)
	defer db.Close()
	_, err = pgxstore.NewDB(t.Context(), db)
	require.ErrorContains(t, err, "pgxstore: ")
	require.ErrorContains(t, err, message)
}

func TestAnotherDriverIsRefused(t *testing.T) {
	db, err := sql.Open("sqlite", ":memory:")
	require.NoError(t, err)
	defer db.Close()
	_, err = pgxstore.NewDB(t.Context(), db)
	require.ErrorContains(t, err, "its driver must be github.com/jackc/pgx/v5/stdlib")
}

func TestWarnsWhenCommitsMayBeLost(t *testing.T) {
	p := engines.StartPostgres(t)
	for setting, want := range map[string]string{"off": "level=WARN", "on": "", "local": ""} {
		var log bytes.Buffer
		before := slog.Default()
		slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
		open(t, p.URL()+"&synchronous_commit="+setting)
		openDB(t, p.URL()+"&synchronous_commit="+setting)
		slog.SetDefault(before)
		if want == "" {
			require.Empty(t, log.String(), setting)
		} else {
			require.Equal(t, 2, strings.Count(log.String(), want), setting)
		}
	}
}

// A statement prepared by name on a connection that is somebody else's next
// would fail there: the pool's default must not matter behind a pooler.
func TestNothingIsPreparedBehindPgBouncer(t *testing.T) {
	p := engines.StartPostgres(t)
	const count = `SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%mxm_%'`
	use := func(s *pgxstore.Store) {
		for i := range 5 {
			require.NoError(t, s.Commit(fmt.Sprint("s", i), nil, time.Now().Add(time.Hour)))
			_, _, err := s.Find("s")
			require.NoError(t, err)
		}
	}
	ofPool := func(url string) (n int) {
		s, pool := open(t, url+"&pool_max_conns=1")
		use(s)
		require.NoError(t, pool.QueryRow(t.Context(), count, pgx.QueryExecModeExec).Scan(&n))
		return n
	}
	ofDB := func(url string) (n int) {
		s, db := openDB(t, url)
		db.SetMaxOpenConns(1)
		use(s)
		require.NoError(t, db.QueryRowContext(t.Context(), count, pgx.QueryExecModeExec).Scan(&n))
		return n
	}
	pooled := engines.StartPgBouncer(t, p).URL()
	for _, prepared := range []func(url string) int{ofPool, ofDB} {
		require.Positive(t, prepared(p.URL()), "without one, they are")
		require.Zero(t, prepared(p.URL()+"&default_query_exec_mode=exec"), "unless the pool is set otherwise")
		require.Zero(t, prepared(pooled))
	}
}

func TestDeletesWhatExpired(t *testing.T) {
	p := engines.StartPostgres(t)
	_, pool := open(t, p.URL())
	_, err := pool.Exec(t.Context(), `
		INSERT INTO mxm_sessions SELECT ('s' || n)::bytea, 'x', now() - interval '1 second' FROM generate_series(1, 2500) n;
		INSERT INTO mxm_sessions VALUES ('live', 'x', now() + interval '1 hour'), ('tombstone', NULL, now() + interval '1 hour');
		INSERT INTO mxm_grants SELECT ('g' || n)::bytea, 'x', 'v', now() - interval '1 second' FROM generate_series(1, 2500) n;
		INSERT INTO mxm_grants VALUES ('live', 'x', 'v', now() + interval '1 hour'), ('for ever', 'x', 'v', NULL)`, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	for range 3 { // several instances at once
		open(t, p.URL())
	}
	require.Eventually(t, func() bool {
		var sessions, grants int
		require.NoError(t, pool.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM mxm_sessions), (SELECT count(*) FROM mxm_grants)`).Scan(&sessions, &grants))
		require.GreaterOrEqual(t, sessions, 2)
		require.GreaterOrEqual(t, grants, 2)
		return sessions == 2 && grants == 2
	}, 20*time.Second, 20*time.Millisecond)
}

// Close cancels a deletion that hangs, and returns when nothing runs any more.
func TestCloseEndsTheDeletion(t *testing.T) {
	pool, err := pgxpool.New(t.Context(), engines.StartPostgres(t).URL())
	require.NoError(t, err)
	defer pool.Close()
	// Not by a store: what it had begun to delete might still wait, too.
	_, err = pool.Exec(t.Context(), pgxstore.Schema, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	defer tx.Rollback(context.Background())
	_, err = tx.Exec(t.Context(), `LOCK TABLE mxm_sessions`)
	require.NoError(t, err)
	s, err := pgxstore.New(t.Context(), pool)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		var waiting int
		require.NoError(t, pool.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'`).Scan(&waiting))
		return waiting == 1
	}, 10*time.Second, 10*time.Millisecond)
	sweeping := func() bool {
		stacks := make([]byte, 1<<20)
		return bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("pgxstore.(*Store).sweep("))
	}
	require.True(t, sweeping())
	start := time.Now()
	require.NoError(t, s.Close())
	require.False(t, sweeping())
	require.Less(t, time.Since(start), 5*time.Second)
}

// The instance whose clock is an hour wrong agrees with the others: an expiry
// travels as the time that is left, and only the server's clock is compared.
func TestServerClockDecides(t *testing.T) {
	s, pool := open(t, engines.StartPostgres(t).URL())
	require.NoError(t, s.Commit("s", nil, time.Now().Add(time.Hour)))
	require.NoError(t, s.CommitGrant(t.Context(), "g", "", core.Record{Version: "v1", Expiry: time.Now().Add(time.Hour)}))
	// As if the server's clock went an hour and a half ahead of ours.
	_, err := pool.Exec(t.Context(), `UPDATE mxm_sessions SET expiry = expiry - interval '90 minutes'; UPDATE mxm_grants SET expiry = expiry - interval '90 minutes'`, pgx.QueryExecModeSimpleProtocol)
	require.NoError(t, err)
	_, found, err := s.Find("s")
	require.NoError(t, err)
	require.False(t, found)
	require.ErrorIs(t, s.CommitGrant(t.Context(), "g", "v1", core.Record{Version: "v2"}), core.ErrConflict)
	require.NoError(t, s.CommitGrant(t.Context(), "g", "", core.Record{Version: "v3", Expiry: time.Now().Add(time.Hour)}))
	var seconds float64
	require.NoError(t, pool.QueryRow(t.Context(), `SELECT extract(epoch FROM expiry - now())::float8 FROM mxm_grants`).Scan(&seconds))
	require.InDelta(t, 3600, seconds, 5)
}
