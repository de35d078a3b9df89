package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
)

// FindGrant implements [core.GrantStore].
func (s *Store) FindGrant(ctx context.Context, key string) (r core.Record, found bool, err error) {
	var expiry int64
	err = s.db.QueryRowContext(ctx, `SELECT data, version, expiry FROM mxm_grants WHERE key = ?1 AND (expiry = 0 OR expiry > ?2)`,
		[]byte(key), micros(time.Now())).Scan(&r.Data, &r.Version, &expiry)
	if errors.Is(err, sql.ErrNoRows) {
		return core.Record{}, false, nil
	}
	if err != nil {
		return core.Record{}, false, fmt.Errorf("sqlitestore: %w", err)
	}
	if expiry != 0 {
		r.Expiry = time.UnixMicro(expiry)
	}
	return r, true, nil
}

// CommitGrant implements [core.GrantStore].
func (s *Store) CommitGrant(ctx context.Context, key, old string, r core.Record) error {
	if r.Version == "" {
		return errors.New("sqlitestore: a record needs a version")
	}
	expiry := int64(0)
	if !r.Expiry.IsZero() {
		expiry = micros(r.Expiry)
	}
	query := `UPDATE mxm_grants SET data = ?2, version = ?3, expiry = ?4
		WHERE key = ?1 AND (expiry = 0 OR expiry > ?5) AND version = ?6`
	args := []any{[]byte(key), blob(r.Data), r.Version, expiry, micros(time.Now()), old}
	if old == "" {
		query = `INSERT INTO mxm_grants (key, data, version, expiry) VALUES (?1, ?2, ?3, ?4)
			ON CONFLICT (key) DO UPDATE SET data = excluded.data, version = excluded.version, expiry = excluded.expiry
			WHERE mxm_grants.expiry <> 0 AND mxm_grants.expiry <= ?5`
		args = args[:5]
	}
	n, err := s.write(ctx, query, args...)
	if err == nil && n == 0 {
		return core.ErrConflict
	}
	return err
}

// DeleteGrant implements [core.GrantStore].
func (s *Store) DeleteGrant(ctx context.Context, key string) error {
	_, err := s.write(ctx, `DELETE FROM mxm_grants WHERE key = ?1`, []byte(key))
	return err
}

// ListGrants implements [core.GrantLister]. It returns the keys in their order, and
// a cursor is ">" and the last key of a page.
func (s *Store) ListGrants(ctx context.Context, cursor string, limit int) (keys []string, next string, err error) {
	if limit < 1 {
		return nil, "", errors.New("sqlitestore: a page needs a limit of at least 1")
	}
	after, ok := strings.CutPrefix(cursor, ">")
	if !ok {
		after = ""
	}
	rows, err := s.db.QueryContext(ctx, `SELECT key FROM mxm_grants WHERE key > ?1 AND (expiry = 0 OR expiry > ?2) ORDER BY key LIMIT ?3`,
		[]byte(after), micros(time.Now()), limit)
	if err != nil {
		return nil, "", fmt.Errorf("sqlitestore: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var key []byte
		if err := rows.Scan(&key); err != nil {
			return nil, "", fmt.Errorf("sqlitestore: %w", err)
		}
		keys = append(keys, string(key))
	}
	if err := rows.Err(); err != nil {
		return nil, "", fmt.Errorf("sqlitestore: %w", err)
	}
	if len(keys) == limit {
		next = ">" + keys[limit-1]
	}
	return keys, next, nil
}
