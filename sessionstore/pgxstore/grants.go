package pgxstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/mxmconnect/mxmconnect/core"
)

// FindGrant implements [core.GrantStore].
func (s *Store) FindGrant(ctx context.Context, key string) (r core.Record, found bool, err error) {
	var left *float64
	err = s.db.queryRow(ctx, `SELECT data, version, extract(epoch FROM expiry - now())::float8 FROM mxm_grants
		WHERE key = $1 AND (expiry IS NULL OR expiry > now())`, s.mode, []byte(key)).Scan(&r.Data, &r.Version, &left)
	if errors.Is(err, sql.ErrNoRows) {
		return core.Record{}, false, nil
	}
	if err != nil {
		return core.Record{}, false, fmt.Errorf("pgxstore: %w", err)
	}
	if left != nil {
		r.Expiry = time.Now().Add(time.Duration(*left * float64(time.Second)))
	}
	return r, true, nil
}

// CommitGrant implements [core.GrantStore].
func (s *Store) CommitGrant(ctx context.Context, key, old string, r core.Record) error {
	if r.Version == "" {
		return errors.New("pgxstore: a record needs a version")
	}
	var expiry *float64
	if !r.Expiry.IsZero() {
		secs := left(r.Expiry)
		expiry = &secs
	}
	query := `UPDATE mxm_grants SET data = $2, version = $3, expiry = now() + make_interval(secs => $4)
		WHERE key = $1 AND (expiry IS NULL OR expiry > now()) AND version = $5`
	args := []any{[]byte(key), blob(r.Data), r.Version, expiry, old}
	if old == "" {
		query = `INSERT INTO mxm_grants AS stored (key, data, version, expiry) VALUES ($1, $2, $3, now() + make_interval(secs => $4))
			ON CONFLICT (key) DO UPDATE SET data = excluded.data, version = excluded.version, expiry = excluded.expiry
			WHERE stored.expiry <= now()`
		args = args[:4]
	}
	n, err := s.write(ctx, query, args...)
	if err == nil && n == 0 {
		return core.ErrConflict
	}
	return err
}

// DeleteGrant implements [core.GrantStore].
func (s *Store) DeleteGrant(ctx context.Context, key string) error {
	_, err := s.write(ctx, `DELETE FROM mxm_grants WHERE key = $1`, []byte(key))
	return err
}

// ListGrants implements [core.GrantLister]. It returns the keys in their order, and
// a cursor is ">" and the last key of a page.
func (s *Store) ListGrants(ctx context.Context, cursor string, limit int) (keys []string, next string, err error) {
	if limit < 1 {
		return nil, "", errors.New("pgxstore: a page needs a limit of at least 1")
	}
	after, ok := strings.CutPrefix(cursor, ">")
	if !ok {
		after = ""
	}
	err = s.db.conn(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `SELECT key FROM mxm_grants WHERE key > $1 AND (expiry IS NULL OR expiry > now())
			ORDER BY key LIMIT $2`, s.mode, []byte(after), limit)
		if err != nil {
			return err
		}
		keys, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (string, error) {
			key, err := pgx.RowTo[[]byte](row)
			return string(key), err
		})
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("pgxstore: %w", err)
	}
	if len(keys) == limit {
		next = ">" + keys[limit-1]
	}
	return keys, next, nil
}
