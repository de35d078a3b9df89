package mysqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/go-sql-driver/mysql"
	"github.com/mxmconnect/mxmconnect/core"
)

// Store keeps sessions and grants in MariaDB or MySQL. It is safe for concurrent use.
type Store struct {
	db    *sql.DB
	close context.CancelFunc
	swept sync.WaitGroup

	findSession, commitSession, deleteSession                                  *sql.Stmt
	findGrant, replaceGrant, createGrant, expireGrant, deleteGrant, listGrants *sql.Stmt
}

var (
	_ scs.CtxStore     = (*Store)(nil)
	_ core.GrantStore  = (*Store)(nil)
	_ core.GrantLister = (*Store)(nil)
)

// New keeps sessions and grants in db, which is of the driver
// github.com/go-sql-driver/mysql and stays the caller's. It refuses a server that
// is not set as the package documentation says, creates the tables when they are
// missing, and starts a goroutine that deletes what has expired, until Close.
func New(ctx context.Context, db *sql.DB) (*Store, error) {
	s := &Store{db: db}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("mysqlstore: %w", err), s.closeStatements())
	}
	sweeping, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.close = cancel
	s.swept.Go(func() { s.sweep(sweeping) })
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	set, err := readSettings(ctx, s.db)
	if err == nil {
		err = set.check()
	}
	if err == nil {
		err = migrate(ctx, s.db)
	}
	if err == nil {
		err = checkEngines(ctx, s.db)
	}
	if err != nil {
		return err
	}
	set.warn(ctx)
	for query, statement := range s.statements() {
		if *statement, err = s.db.PrepareContext(ctx, query); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) statements() map[string]**sql.Stmt {
	return map[string]**sql.Stmt{
		findSession: &s.findSession, commitSession: &s.commitSession, deleteSession: &s.deleteSession,
		findGrant: &s.findGrant, replaceGrant: &s.replaceGrant, createGrant: &s.createGrant,
		expireGrant: &s.expireGrant, deleteGrant: &s.deleteGrant, listGrants: &s.listGrants,
	}
}

func (s *Store) closeStatements() (err error) {
	for _, statement := range s.statements() {
		if *statement != nil {
			err = errors.Join(err, (*statement).Close())
		}
	}
	return err
}

// Close ends the deletion of what has expired and waits until it has ended. The
// database stays open. The store must not be used any more.
func (s *Store) Close() error {
	s.close()
	s.swept.Wait()
	return s.closeStatements()
}

// write runs one statement, which is one transaction, and returns how many rows
// it changed. One that the server gives up has changed nothing, and is sent again:
// to end a deadlock, as of several who create what another deletes, or because
// innodb_snapshot_isolation is ON and the row has changed since it began.
func write(ctx context.Context, statement *sql.Stmt, args ...any) (int64, error) {
	for {
		res, err := statement.ExecContext(ctx, args...)
		if (isError(err, deadlock) || isError(err, recordChanged)) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("mysqlstore: %w", err)
		}
		return res.RowsAffected()
	}
}

// What the server answers, by number.
const (
	recordChanged = 1020
	duplicateKey  = 1062
	noSuchTable   = 1146
	deadlock      = 1213
)

func isError(err error, number uint16) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && e.Number == number
}

// blob is b as the value of a column that is not NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// left is how far away an expiry is, in microseconds.
func left(expiry time.Time) int64 { return time.Until(expiry).Microseconds() }
