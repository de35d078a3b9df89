package pgxstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

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
