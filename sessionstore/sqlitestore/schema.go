package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

const schemaVersion = 1

// The version is written last: where it is, everything is.
//
// Expiry is in microseconds since 1970. A session without data is a tombstone; a
// grant whose expiry is 0 never expires.
var schema = []string{
	`CREATE TABLE IF NOT EXISTS mxm_sessions (token BLOB PRIMARY KEY NOT NULL, data BLOB, expiry INTEGER NOT NULL) WITHOUT ROWID`,
	`CREATE INDEX IF NOT EXISTS mxm_sessions_expiry ON mxm_sessions (expiry)`,
	`CREATE TABLE IF NOT EXISTS mxm_grants (key BLOB PRIMARY KEY NOT NULL, data BLOB NOT NULL, version TEXT NOT NULL, expiry INTEGER NOT NULL)`,
	`CREATE INDEX IF NOT EXISTS mxm_grants_expiry ON mxm_grants (expiry) WHERE expiry <> 0`,
	`CREATE TABLE IF NOT EXISTS mxm_schema (id INTEGER PRIMARY KEY CHECK (id = 1), version INTEGER NOT NULL)`,
	`INSERT INTO mxm_schema (id, version) VALUES (1, 1) ON CONFLICT DO NOTHING`,
}

// migrate creates the tables if they are missing. Every statement may run twice, so
// several processes may start at once. It reads first: to write, it has to wait for
// the other processes that do.
func migrate(ctx context.Context, db *sql.DB) error {
	version, err := readVersion(ctx, db)
	if err != nil {
		for _, statement := range schema {
			if _, err := db.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		version, err = readVersion(ctx, db)
	}
	if err != nil {
		return err
	}
	if version != schemaVersion {
		return fmt.Errorf("the tables have version %d, and this code knows version %d", version, schemaVersion)
	}
	return nil
}

func readVersion(ctx context.Context, db *sql.DB) (version int, err error) {
	err = db.QueryRowContext(ctx, `SELECT version FROM mxm_schema`).Scan(&version)
	return version, err
}

// checkSettings looks at two connections, since what a statement sets, and not
// the data source name, is set on one.
func checkSettings(ctx context.Context, db *sql.DB) error {
	for range 2 {
		conn, err := db.Conn(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := checkConnection(ctx, conn); err != nil {
			return err
		}
		if db.Stats().MaxOpenConnections == 1 {
			break
		}
	}
	return nil
}

func checkConnection(ctx context.Context, conn *sql.Conn) error {
	var journal string
	var busy, synchronous int
	if err := errors.Join(
		conn.QueryRowContext(ctx, `PRAGMA journal_mode`).Scan(&journal),
		conn.QueryRowContext(ctx, `PRAGMA busy_timeout`).Scan(&busy),
		conn.QueryRowContext(ctx, `PRAGMA synchronous`).Scan(&synchronous),
	); err != nil {
		return err
	}
	var wrong []error
	if !strings.EqualFold(journal, "wal") {
		wrong = append(wrong, fmt.Errorf("journal_mode is %s; it must be WAL", journal))
	}
	if busy == 0 {
		wrong = append(wrong, errors.New("busy_timeout is 0; it must be set, such as to 5000 ms"))
	}
	if synchronous < 2 {
		wrong = append(wrong, errors.New("synchronous is OFF or NORMAL; it must be FULL"))
	}
	return errors.Join(wrong...)
}
