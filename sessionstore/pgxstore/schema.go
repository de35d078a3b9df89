package pgxstore

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Schema is the SQL that creates the tables. It may run again at any time.
//
//go:embed schema.sql
var Schema string

const schemaVersion = 1

// migrate creates the tables unless they are there.
func migrate(ctx context.Context, db database) error {
	version, err := storedVersion(ctx, db)
	for attempt := range 10 {
		if err != nil || version != 0 {
			break
		}
		// IF NOT EXISTS does not see what another transaction is creating: who
		// comes second gets an error, and then finds the tables.
		if err = createTables(ctx, db); err == nil || concurrently(err) {
			if err != nil {
				if err := pause(ctx, time.Duration(attempt+1)*20*time.Millisecond); err != nil {
					return err
				}
			}
			version, err = storedVersion(ctx, db)
		}
	}
	if err != nil {
		return err
	}
	if version != schemaVersion {
		return fmt.Errorf("the tables have version %d, and this code knows version %d", version, schemaVersion)
	}
	return nil
}

// storedVersion returns 0 when there are no tables.
func storedVersion(ctx context.Context, db database) (version int, err error) {
	err = db.queryRow(ctx, `SELECT version FROM mxm_schema`, unnamed).Scan(&version)
	var pgErr *pgconn.PgError
	if errors.Is(err, sql.ErrNoRows) || errors.As(err, &pgErr) && pgErr.Code == "42P01" { // undefined_table
		return 0, nil
	}
	return version, err
}

func createTables(ctx context.Context, db database) error {
	// Several statements without parameters in one message, which is one
	// transaction: all or nothing.
	return db.conn(ctx, func(conn *pgx.Conn) error {
		_, err := conn.PgConn().Exec(ctx, Schema).ReadAll()
		return err
	})
}

// concurrently reports whether somebody else created the same at the same time.
func concurrently(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return false
	}
	switch pgErr.Code {
	case "23505", // unique_violation, of the catalogue
		"42P07", // duplicate_table
		"42710", // duplicate_object
		"40P01", // deadlock_detected
		"40001", // serialization_failure
		"XX000": // "tuple concurrently updated"
		return true
	}
	return false
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
