package pgxstore

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

// database is what the store needs of a pool. The first of args may be a
// [pgx.QueryExecMode], with database/sql as well: pgx's driver passes it on.
type database interface {
	exec(ctx context.Context, query string, args ...any) (changed int64, err error)
	queryRow(ctx context.Context, query string, args ...any) row
	conn(ctx context.Context, use func(*pgx.Conn) error) error
}

type row interface{ Scan(dest ...any) error }

type pgxPool struct{ *pgxpool.Pool }

func (p pgxPool) exec(ctx context.Context, query string, args ...any) (int64, error) {
	tag, err := p.Exec(ctx, query, args...)
	return tag.RowsAffected(), err
}

func (p pgxPool) queryRow(ctx context.Context, query string, args ...any) row {
	return p.QueryRow(ctx, query, args...)
}

func (p pgxPool) conn(ctx context.Context, use func(*pgx.Conn) error) error {
	return p.AcquireFunc(ctx, func(c *pgxpool.Conn) error { return use(c.Conn()) })
}

type sqlDB struct{ *sql.DB }

func (db sqlDB) exec(ctx context.Context, query string, args ...any) (int64, error) {
	result, err := db.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (db sqlDB) queryRow(ctx context.Context, query string, args ...any) row {
	return db.QueryRowContext(ctx, query, args...)
}

func (db sqlDB) conn(ctx context.Context, use func(*pgx.Conn) error) error {
	c, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Raw(func(driverConn any) error {
		conn, ok := driverConn.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("the connections of the sql.DB are %T; its driver must be github.com/jackc/pgx/v5/stdlib", driverConn)
		}
		return use(conn.Conn())
	})
}
