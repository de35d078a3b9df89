package pgxstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/mxmconnect/mxmconnect/core"
)

// Store keeps sessions and grants in PostgreSQL. It is safe for concurrent use.
type Store struct {
	db    database
	mode  pgx.QueryExecMode
	close context.CancelFunc
	swept sync.WaitGroup
}

var (
	_ scs.CtxStore     = (*Store)(nil)
	_ core.GrantStore  = (*Store)(nil)
	_ core.GrantLister = (*Store)(nil)
)

// unnamed sends a statement and its parameters in one round trip and leaves
// nothing on the connection, which behind a pooler is somebody else's next.
const unnamed = pgx.QueryExecModeExec

// New keeps sessions and grants in the database of pool, which stays the
// caller's. It creates the tables when they are missing, and starts a goroutine
// that deletes what has expired, until Close.
func New(ctx context.Context, pool *pgxpool.Pool) (*Store, error) {
	return open(ctx, pgxPool{pool})
}

// NewDB is [New] for an application that uses database/sql. The driver of db must
// be github.com/jackc/pgx/v5/stdlib; NewDB refuses every other one.
func NewDB(ctx context.Context, db *sql.DB) (*Store, error) {
	return open(ctx, sqlDB{db})
}

func open(ctx context.Context, db database) (*Store, error) {
	mode, err := inspect(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("pgxstore: %w", err)
	}
	if err := migrate(ctx, db); err != nil {
		return nil, fmt.Errorf("pgxstore: %w", err)
	}
	sweeping, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &Store{db: db, mode: mode, close: cancel}
	s.swept.Go(func() { s.sweep(sweeping) })
	return s, nil
}

// inspect refuses a server that must not be used, and chooses how to send
// statements: prepared and cached if that is how the pool is set and nobody
// stands between, and else unnamed, which takes half as long again.
func inspect(ctx context.Context, db database) (mode pgx.QueryExecMode, err error) {
	err = db.conn(ctx, func(conn *pgx.Conn) error {
		var pid uint32
		var recovery bool
		var commit, isolation string
		if err := conn.QueryRow(ctx, `SELECT pg_backend_pid(), pg_is_in_recovery(), current_setting('synchronous_commit'), current_setting('transaction_isolation')`, unnamed).Scan(&pid, &recovery, &commit, &isolation); err != nil {
			return err
		}
		if recovery {
			return errors.New("the server is a replica; grants must be read from the primary")
		}
		if isolation != "read committed" {
			return fmt.Errorf("default_transaction_isolation is %s, where a logout or a refresh fails because of a write at the same time; it must be read committed for this pool", isolation)
		}
		if commit == "off" {
			slog.WarnContext(ctx, "pgxstore: synchronous_commit is off: a crash loses grants that were stored")
		}
		mode = unnamed
		config := conn.Config()
		// A pooler tells its clients a process ID of its own making.
		direct := pid == conn.PgConn().PID()
		if direct && config.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement && config.StatementCacheCapacity > 0 {
			mode = pgx.QueryExecModeCacheStatement
		}
		return nil
	})
	return mode, err
}

// Close ends the deletion of what has expired and waits until it has ended. The
// pool stays open. The store may still be used.
func (s *Store) Close() error {
	s.close()
	s.swept.Wait()
	return nil
}

const (
	sweepEvery   = time.Minute
	sweepTimeout = 10 * time.Second
)

// sweep runs at once, too: an instance that never lives a minute also deletes.
func (s *Store) sweep(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		// What fails is tried again in a minute. Nobody waits for it: what has
		// expired is not found, deleted or not.
		for _, query := range []string{
			`DELETE FROM mxm_sessions WHERE token IN (SELECT token FROM mxm_sessions WHERE expiry <= now() LIMIT 1000 FOR UPDATE SKIP LOCKED)`,
			`DELETE FROM mxm_grants WHERE key IN (SELECT key FROM mxm_grants WHERE expiry <= now() LIMIT 1000 FOR UPDATE SKIP LOCKED)`,
		} {
			for s.sweepBatch(ctx, query) == 1000 {
			}
		}
		timer.Reset(sweepEvery)
	}
}

func (s *Store) sweepBatch(ctx context.Context, query string) int64 {
	ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	n, err := s.db.exec(ctx, query, unnamed)
	if err != nil {
		return 0
	}
	return n
}

// write runs one statement, which is one transaction, and returns how many rows
// it changed.
func (s *Store) write(ctx context.Context, query string, args ...any) (int64, error) {
	n, err := s.db.exec(ctx, query, append([]any{s.mode}, args...)...)
	if err != nil {
		return 0, fmt.Errorf("pgxstore: %w", err)
	}
	return n, nil
}

// blob is b as the value of a column that is not NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// left is how far away an expiry is, in seconds.
func left(expiry time.Time) float64 { return time.Until(expiry).Seconds() }
