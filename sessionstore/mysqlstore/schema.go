package mysqlstore

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"strings"
)

// Schema is the SQL that creates the tables: several statements, each of which
// ends with a semicolon at the end of a line. It may run again at any time.
//
//go:embed schema.sql
var Schema string

const schemaVersion = 1

// migrate creates the tables unless they are there. Every statement may run
// twice, so several instances may start at once.
func migrate(ctx context.Context, db *sql.DB) error {
	version, err := storedVersion(ctx, db)
	if err == nil && version == 0 {
		for statement := range strings.SplitSeq(strings.TrimSpace(Schema), ";\n") {
			if _, err := db.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		version, err = storedVersion(ctx, db)
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
func storedVersion(ctx context.Context, db *sql.DB) (version int, err error) {
	err = db.QueryRowContext(ctx, `SELECT version FROM mxm_schema`).Scan(&version)
	if errors.Is(err, sql.ErrNoRows) || isError(err, noSuchTable) {
		return 0, nil
	}
	return version, err
}

// checkEngines refuses tables without transactions, which somebody else may have
// created.
func checkEngines(ctx context.Context, db *sql.DB) error {
	var table, engine string
	err := db.QueryRowContext(ctx, `SELECT table_name, engine FROM information_schema.tables
		WHERE table_schema = DATABASE() AND table_name IN ('mxm_sessions', 'mxm_grants') AND engine <> 'InnoDB'`).Scan(&table, &engine)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("the engine of table %s is %s; it must be InnoDB", table, engine)
}
