package mysqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
)

const (
	findGrant = `SELECT data, version, TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), expiry) FROM mxm_grants
		WHERE grant_key = ? AND (expiry IS NULL OR expiry > UTC_TIMESTAMP(6))`

	// The version changes always. So a row that is found is a row that is changed,
	// whichever of the two the connection makes the server count.
	replaceGrant = `UPDATE mxm_grants SET data = ?, version = ?, expiry = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND
		WHERE grant_key = ? AND (expiry IS NULL OR expiry > UTC_TIMESTAMP(6)) AND version = ?`

	createGrant = `INSERT INTO mxm_grants (data, version, expiry, grant_key) VALUES (?, ?, UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND, ?)`
	expireGrant = `DELETE FROM mxm_grants WHERE grant_key = ? AND expiry <= UTC_TIMESTAMP(6)`
	deleteGrant = `DELETE FROM mxm_grants WHERE grant_key = ?`

	// Without the hint, a table of which much has expired may be sorted for each page.
	listGrants = `SELECT grant_key FROM mxm_grants FORCE INDEX (PRIMARY)
		WHERE grant_key > ? AND (expiry IS NULL OR expiry > UTC_TIMESTAMP(6)) ORDER BY grant_key LIMIT ?`
)

// FindGrant implements [core.GrantStore].
func (s *Store) FindGrant(ctx context.Context, key string) (r core.Record, found bool, err error) {
	var left sql.NullInt64
	err = s.findGrant.QueryRowContext(ctx, []byte(key)).Scan(&r.Data, &r.Version, &left)
	if errors.Is(err, sql.ErrNoRows) {
		return core.Record{}, false, nil
	}
	if err != nil {
		return core.Record{}, false, fmt.Errorf("mysqlstore: %w", err)
	}
	if left.Valid {
		r.Expiry = time.Now().Add(time.Duration(left.Int64) * time.Microsecond)
	}
	return r, true, nil
}

// CommitGrant implements [core.GrantStore].
func (s *Store) CommitGrant(ctx context.Context, key, old string, r core.Record) error {
	if r.Version == "" {
		return errors.New("mysqlstore: a record needs a version")
	}
	expiry := sql.NullInt64{Int64: left(r.Expiry), Valid: !r.Expiry.IsZero()}
	args := []any{blob(r.Data), []byte(r.Version), expiry, []byte(key)}
	if old == "" {
		return s.create(ctx, args, key)
	}
	n, err := write(ctx, s.replaceGrant, append(args, []byte(old))...)
	if err == nil && n == 0 {
		return core.ErrConflict
	}
	return err
}

// create inserts a record. One that is in its way and has expired is deleted
// first, whereupon it makes no difference whether somebody else deletes it, too.
func (s *Store) create(ctx context.Context, args []any, key string) error {
	_, err := write(ctx, s.createGrant, args...)
	if !isError(err, duplicateKey) {
		return err
	}
	if _, err := write(ctx, s.expireGrant, []byte(key)); err != nil {
		return err
	}
	if _, err = write(ctx, s.createGrant, args...); isError(err, duplicateKey) {
		return core.ErrConflict
	}
	return err
}

// DeleteGrant implements [core.GrantStore].
func (s *Store) DeleteGrant(ctx context.Context, key string) error {
	_, err := write(ctx, s.deleteGrant, []byte(key))
	return err
}

// ListGrants implements [core.GrantLister]. It returns the keys in their order, and
// a cursor is ">" and the last key of a page.
func (s *Store) ListGrants(ctx context.Context, cursor string, limit int) (keys []string, next string, err error) {
	if limit < 1 {
		return nil, "", errors.New("mysqlstore: a page needs a limit of at least 1")
	}
	after, ok := strings.CutPrefix(cursor, ">")
	if !ok {
		after = ""
	}
	rows, err := s.listGrants.QueryContext(ctx, []byte(after), limit)
	if err != nil {
		return nil, "", fmt.Errorf("mysqlstore: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			return nil, "", fmt.Errorf("mysqlstore: %w", err)
		}
		keys = append(keys, key)
	}
	if err := rows.Err(); err != nil {
		return nil, "", fmt.Errorf("mysqlstore: %w", err)
	}
	if len(keys) == limit {
		next = ">" + keys[limit-1]
	}
	return keys, next, nil
}
