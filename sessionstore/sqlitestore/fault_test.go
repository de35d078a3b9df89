package sqlitestore_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/sqlitestore"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest"
	"github.com/stretchr/testify/require"
)

const dsn = "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"

// otherProcess is the other process of the tests below.
func otherProcess(what, path string) error {
	if what == "lock" {
		db, err := sql.Open("sqlite", "file:"+path+dsn+"&_txlock=immediate")
		if err != nil {
			return err
		}
		if _, err := db.Begin(); err != nil {
			return err
		}
		fmt.Println("locked")
		_, err = bufio.NewReader(os.Stdin).ReadString('\n')
		return err // and the lock goes with the process
	}
	s, err := sqlitestore.Open(path)
	if err != nil {
		return err
	}
	for old, i := "", 1; ; i++ {
		version := fmt.Sprint("v", i)
		if err := errors.Join(
			s.CommitGrant(context.Background(), "g", old, core.Record{Data: []byte(version), Version: version}),
			s.Commit(version, nil, time.Now().Add(time.Hour)),
			s.Delete(version),
		); err != nil {
			return err
		}
		fmt.Println("done", i)
		old = version
	}
}

// other starts the other process, and returns its output and a function that
// sends it a line.
func other(t *testing.T, what, path string) (*exec.Cmd, *bufio.Scanner, func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "MXM_OTHER="+what, "MXM_DB="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, bufio.NewScanner(out), func() { fmt.Fprintln(in, "go") }
}

func TestLockedByAnotherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	s := open(t, path)
	ctx := t.Context()
	require.NoError(t, s.CommitGrant(ctx, "g", "", core.Record{Version: "v1"}))
	_, out, release := other(t, "lock", path)
	require.True(t, out.Scan())
	require.Equal(t, "locked", out.Text())

	require.Equal(t, "v1", version(t, s, "g"), "reading goes on")

	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	require.Error(t, s.CommitGrant(short, "g", "v1", core.Record{Version: "v2"}))
	t.Logf("a deadline of 200 ms was noticed after %v", time.Since(start))
	require.Less(t, time.Since(start), 2*time.Second)
	require.Equal(t, "v1", version(t, s, "g"))

	done := make(chan error, 1)
	go func() { done <- s.CommitGrant(ctx, "g", "v1", core.Record{Version: "v3"}) }()
	select {
	case err := <-done:
		t.Fatalf("it did not wait for the other process: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	release()
	require.NoError(t, <-done, "and then it is done")
	require.Equal(t, "v3", version(t, s, "g"))
}

// To start an instance takes no lock that another one may hold for long.
func TestOpenedWhileAnotherProcessWrites(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	require.NoError(t, open(t, path).CommitGrant(t.Context(), "g", "", core.Record{Version: "v1"}))
	_, out, _ := other(t, "lock", path)
	require.True(t, out.Scan())
	require.Equal(t, "v1", version(t, open(t, path), "g"))
}

// What was acknowledged survives a kill -9.
func TestProcessKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	for range 5 {
		for _, journal := range []string{"", "-wal", "-shm"} {
			os.Remove(path + journal)
		}
		cmd, out, _ := other(t, "write", path)
		acknowledged := 0
		for acknowledged < 30 && out.Scan() {
			_, err := fmt.Sscanf(out.Text(), "done %d", &acknowledged)
			require.NoError(t, err, out.Text())
		}
		require.NoError(t, cmd.Process.Kill())
		for out.Scan() {
			fmt.Sscanf(out.Text(), "done %d", &acknowledged)
		}
		cmd.Wait()

		s, err := sqlitestore.Open(path)
		require.NoError(t, err)
		var stored int
		_, err = fmt.Sscanf(version(t, s, "g"), "v%d", &stored)
		require.NoError(t, err)
		require.GreaterOrEqual(t, stored, acknowledged)
		require.LessOrEqual(t, stored, acknowledged+1)
		for i := range acknowledged {
			token := fmt.Sprint("v", i+1)
			require.NoError(t, s.Commit(token, nil, time.Now().Add(time.Hour)))
			_, found, err := s.Find(token)
			require.NoError(t, err)
			require.False(t, found, "a session that had ended is back")
		}
		require.NoError(t, s.Close())
	}
}

// Two processes on one file, and each sees at once what the other was told is
// stored.
func TestTwoProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	s := open(t, path)
	_, out, _ := other(t, "write", path)
	for range 20 {
		require.True(t, out.Scan())
		var acknowledged, stored int
		_, err := fmt.Sscanf(out.Text(), "done %d", &acknowledged)
		require.NoError(t, err)
		_, err = fmt.Sscanf(version(t, s, "g"), "v%d", &stored)
		require.NoError(t, err)
		require.GreaterOrEqual(t, stored, acknowledged)
		require.NoError(t, s.CommitGrant(t.Context(), "mine", "", core.Record{Version: "v1"}))
		require.NoError(t, s.DeleteGrant(t.Context(), "mine"))
	}
}

func TestFullDisk(t *testing.T) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "app.db")+dsn+"&_pragma=max_page_count(40)")
	require.NoError(t, err)
	defer db.Close()
	s, err := sqlitestore.New(t.Context(), db)
	require.NoError(t, err)
	ctx := t.Context()
	require.NoError(t, s.CommitGrant(ctx, "g", "", core.Record{Data: []byte("data"), Version: "v1"}))
	require.NoError(t, s.Commit("s", nil, time.Now().Add(time.Hour)))
	for i := 0; err == nil && i < 1000; i++ {
		err = s.Commit(fmt.Sprint("fill", i), make([]byte, 3000), time.Now().Add(time.Hour))
	}
	require.ErrorContains(t, err, "full")
	require.ErrorContains(t, s.CommitGrant(ctx, "g", "v1", core.Record{Data: make([]byte, 20_000), Version: "v2"}), "full")
	require.Equal(t, "v1", version(t, s, "g"), "nothing is half done")
	require.NoError(t, s.Delete("s"), "ending a session takes no room")
	_, found, err := s.Find("s")
	require.NoError(t, err)
	require.False(t, found)
}

func TestReadOnly(t *testing.T) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "app.db")+dsn)
	require.NoError(t, err)
	defer db.Close()
	db.SetMaxOpenConns(1)
	s, err := sqlitestore.New(t.Context(), db)
	require.NoError(t, err)
	ctx := t.Context()
	require.NoError(t, s.CommitGrant(ctx, "g", "", core.Record{Version: "v1"}))
	require.NoError(t, s.Commit("s", nil, time.Now().Add(time.Hour)))
	_, err = db.Exec(`PRAGMA query_only = on`)
	require.NoError(t, err)
	require.ErrorContains(t, s.CommitGrant(ctx, "g", "v1", core.Record{Version: "v2"}), "readonly")
	require.ErrorContains(t, s.Delete("s"), "readonly")
	require.Equal(t, "v1", version(t, s, "g"))
	_, found, err := s.Find("s")
	require.NoError(t, err)
	require.True(t, found)
	_, err = db.Exec(`PRAGMA query_only = off`)
	require.NoError(t, err)
	require.NoError(t, s.CommitGrant(ctx, "g", "v1", core.Record{Version: "v2"}))
}

// The files hold no token under which a session is found.
func TestFilesHoldNoSessionToken(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "app.db"))
	sessions := storetest.HashedSessions(s)
	ctx, err := sessions.Load(t.Context(), "")
	require.NoError(t, err)
	sessions.Put(ctx, "user", "ada")
	token, _, err := sessions.Commit(ctx)
	require.NoError(t, err)
	require.NoError(t, s.Commit("canary-in-the-clear", nil, time.Now().Add(time.Hour)))
	var dump strings.Builder
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		require.NoError(t, err)
		dump.Write(b)
	}
	require.Contains(t, dump.String(), "canary-in-the-clear", "the grep must see what it looks through")
	require.NotContains(t, dump.String(), token)
}

func TestFileMode(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "app.db")
	require.NoError(t, os.WriteFile(path, nil, 0o666))
	require.NoError(t, os.Chmod(path, 0o666))
	s := open(t, path)
	require.NoError(t, s.Commit("s", nil, time.Now().Add(time.Hour)))
	files, err := filepath.Glob(path + "*")
	require.NoError(t, err)
	require.Len(t, files, 3, "the database, its log and the log's index")
	for _, f := range files {
		info, err := os.Stat(f)
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), f)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, path := range []string{"", ":memory:", "file:app.db", "file::memory:?cache=shared"} {
		_, err := sqlitestore.Open(path)
		require.ErrorContains(t, err, "is not the path of a file")
	}
	_, err := sqlitestore.Open(filepath.Join(t.TempDir(), "missing", "app.db"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = sqlitestore.Open(t.TempDir())
	require.ErrorContains(t, err, "is not a file")
	path := filepath.Join(t.TempDir(), "text")
	require.NoError(t, os.WriteFile(path, []byte(strings.Repeat("this is no database ", 100)), 0o600))
	_, err = sqlitestore.Open(path)
	require.ErrorContains(t, err, "not a database")
}

func TestNewRefusesOtherSettings(t *testing.T) {
	for pragmas, want := range map[string]string{
		"?_pragma=busy_timeout(5000)&_pragma=synchronous(FULL)":                                 "journal_mode",
		"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)":                                  "busy_timeout",
		"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_pragma=synchronous(NORMAL)":     "synchronous",
		"?_pragma=journal_mode(DELETE)&_pragma=busy_timeout(0)&_pragma=synchronous(OFF)":        "journal_mode is delete; it must be WAL\nbusy_timeout",
		"?mode=memory&_pragma=journal_mode(WAL)&_pragma=busy_timeout(1)&_pragma=synchronous(2)": "journal_mode is memory",
	} {
		db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "app.db")+pragmas)
		require.NoError(t, err)
		_, err = sqlitestore.New(t.Context(), db)
		require.ErrorContains(t, err, want)
		require.NoError(t, db.Close())
	}
}

// A PRAGMA statement sets one connection of the pool, and not the next.
func TestNewRefusesSettingsOfOneConnection(t *testing.T) {
	set := func(db *sql.DB) {
		for _, pragma := range []string{"journal_mode = WAL", "busy_timeout = 5000", "synchronous = FULL"} {
			_, err := db.Exec("PRAGMA " + pragma)
			require.NoError(t, err)
		}
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "app.db"))
	require.NoError(t, err)
	defer db.Close()
	set(db)
	_, err = sqlitestore.New(t.Context(), db)
	require.ErrorContains(t, err, "busy_timeout is 0")

	db.SetMaxOpenConns(1)
	set(db)
	_, err = sqlitestore.New(t.Context(), db)
	require.NoError(t, err, "there is no other")
}

func TestSchemaOfAnotherVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	s, err := sqlitestore.Open(path)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	db, err := sql.Open("sqlite", "file:"+path+dsn)
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Exec(`UPDATE mxm_schema SET version = 2`)
	require.NoError(t, err)
	_, err = sqlitestore.Open(path)
	require.ErrorContains(t, err, "version 2")
}

// The store of New is one more user of a database: its tables are its own, and
// the database stays open.
func TestNewLeavesTheDatabaseToItsOwner(t *testing.T) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "app.db")+dsn)
	require.NoError(t, err)
	defer db.Close()
	s, err := sqlitestore.New(t.Context(), db)
	require.NoError(t, err)
	storetest.RunSessions(t, func(t *testing.T) scs.CtxStore { return s })
	storetest.RunGrants(t, func(t *testing.T) core.GrantStore { return s })
	require.NoError(t, s.Close())
	require.NoError(t, db.Ping())
}

func TestDeletesWhatExpired(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	s := open(t, path)
	db, err := sql.Open("sqlite", "file:"+path+dsn)
	require.NoError(t, err)
	defer db.Close()
	past, future := time.Now().Add(-time.Second).UnixMicro(), time.Now().Add(time.Hour).UnixMicro()
	_, err = db.Exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
		INSERT INTO mxm_sessions SELECT CAST('s' || i AS BLOB), x'00', ?1 FROM n;
		WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2500)
		INSERT INTO mxm_grants SELECT CAST('g' || i AS BLOB), x'00', 'v', ?1 FROM n;
		INSERT INTO mxm_sessions VALUES (x'01', x'00', ?2), (x'02', NULL, ?2);
		INSERT INTO mxm_grants VALUES (x'01', x'00', 'v', ?2), (x'02', x'00', 'v', 0)`, past, future)
	require.NoError(t, err)
	for range 4 { // a batch at every write, while there are more
		require.NoError(t, s.DeleteGrant(t.Context(), "none"))
	}
	var sessions, grants int
	require.NoError(t, db.QueryRow(`SELECT (SELECT count(*) FROM mxm_sessions), (SELECT count(*) FROM mxm_grants)`).Scan(&sessions, &grants))
	require.Equal(t, 2, sessions)
	require.Equal(t, 2, grants)
}

func TestOutageOfCanceledCallers(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "app.db"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	storetest.RunOutage(t, s, func() {
		for range 50 {
			short, done := context.WithTimeout(ctx, time.Millisecond)
			err := s.CommitCtx(short, "s", nil, time.Now().Add(time.Hour))
			done()
			if err != nil && !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "interrupted") {
				t.Errorf("Commit: %v", err)
			}
		}
	})
}

func version(t *testing.T, s core.GrantStore, key string) string {
	t.Helper()
	r, found, err := s.FindGrant(t.Context(), key)
	require.NoError(t, err)
	require.True(t, found)
	return r.Version
}
