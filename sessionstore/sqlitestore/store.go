package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/mxmconnect/mxmconnect/core"
	_ "modernc.org/sqlite" // the driver of Open
)

// Store keeps sessions and grants in a SQLite database. It is safe for
// concurrent use, by several processes too, and starts no goroutine.
type Store struct {
	db     *sql.DB
	owned  bool
	writer chan struct{} // one write at a time: SQLite has one writer, and its queue is polling
	sweep  atomic.Int64  // when to sweep next, in microseconds
}

var (
	_ scs.CtxStore     = (*Store)(nil)
	_ core.GrantStore  = (*Store)(nil)
	_ core.GrantLister = (*Store)(nil)
)

// Open opens the database in the file at path, creates what is missing, and sets
// what the package documentation asks for. Close closes it.
func Open(path string) (*Store, error) {
	if path == "" || strings.HasPrefix(path, ":memory:") || strings.HasPrefix(path, "file:") {
		return nil, fmt.Errorf("sqlitestore: %q is not the path of a file", path)
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("sqlitestore: %w", err)
	}
	if err := protect(abs); err != nil {
		return nil, fmt.Errorf("sqlitestore: %w", err)
	}
	abs = filepath.ToSlash(abs)
	if !strings.HasPrefix(abs, "/") { // a Windows drive
		abs = "/" + abs
	}
	dsn := url.URL{Scheme: "file", Path: abs, RawQuery: "_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("sqlitestore: %w", err)
	}
	s, err := New(context.Background(), db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s.owned = true
	return s, nil
}

var creating sync.Mutex

// protect creates the file, so that it is never readable by others, not even
// for a moment. SQLite gives its journals the mode of the database. A file that
// is there is not opened: to close it again would end every lock that this
// process has on it, and with them the databases that it has open.
func protect(path string) error {
	creating.Lock()
	defer creating.Unlock()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		return f.Close()
	}
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", path)
	}
	for _, file := range []string{path, path + "-wal", path + "-shm"} {
		if err := os.Chmod(file, 0o600); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// New keeps sessions and grants in db, which may be of any SQLite driver and
// hold other tables too. It refuses a database that is not set as the package
// documentation says, and creates its tables when they are missing.
func New(ctx context.Context, db *sql.DB) (*Store, error) {
	if err := checkSettings(ctx, db); err != nil {
		return nil, fmt.Errorf("sqlitestore: %w", err)
	}
	if err := migrate(ctx, db); err != nil {
		return nil, fmt.Errorf("sqlitestore: %w", err)
	}
	return &Store{db: db, writer: make(chan struct{}, 1)}, nil
}

// Close closes the database if Open opened it. One that New was given stays open.
func (s *Store) Close() error {
	if !s.owned {
		return nil
	}
	return s.db.Close()
}

// write runs one statement, which is one transaction, and returns how many rows
// it changed.
func (s *Store) write(ctx context.Context, query string, args ...any) (int64, error) {
	select {
	case s.writer <- struct{}{}:
		defer func() { <-s.writer }()
	case <-ctx.Done():
		return 0, fmt.Errorf("sqlitestore: %w", ctx.Err())
	}
	res, err := s.db.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, fmt.Errorf("sqlitestore: %w", err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("sqlitestore: %w", err)
	}
	s.sweepExpired(ctx)
	return n, nil
}

const (
	sweepEvery = time.Minute
	sweepBatch = 1000
)

// sweepExpired deletes rows that nobody can find any more. That it fails changes
// nothing for the caller, and the next write tries again.
func (s *Store) sweepExpired(ctx context.Context) {
	now := micros(time.Now())
	if now < s.sweep.Load() {
		return
	}
	more := false
	for _, query := range []string{
		`DELETE FROM mxm_sessions WHERE token IN (SELECT token FROM mxm_sessions WHERE expiry <= ?1 LIMIT ?2)`,
		`DELETE FROM mxm_grants WHERE key IN (SELECT key FROM mxm_grants WHERE expiry <> 0 AND expiry <= ?1 LIMIT ?2)`,
	} {
		res, err := s.db.ExecContext(ctx, query, now, sweepBatch)
		if err != nil {
			return
		}
		n, _ := res.RowsAffected()
		more = more || n == sweepBatch
	}
	if !more {
		s.sweep.Store(now + sweepEvery.Microseconds())
	}
}

// micros is how a time is stored, rounded up: nothing ends early.
func micros(t time.Time) int64 { return t.Add(time.Microsecond - 1).UnixMicro() }

// blob is b as the value of a column that is not NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
