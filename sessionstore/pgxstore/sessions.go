package pgxstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// sessionTimeout bounds one call. It stands before every page of a signed-in
// browser, so a database that hangs must not be waited for as long as the browser would.
const sessionTimeout = 5 * time.Second

// FindCtx returns the data of a session. A session that is unknown, deleted or
// expired is found=false and no error.
func (s *Store) FindCtx(ctx context.Context, token string) (b []byte, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	err = s.db.queryRow(ctx, `SELECT data FROM mxm_sessions WHERE token = $1 AND data IS NOT NULL AND expiry > now()`,
		s.mode, []byte(token)).Scan(&b)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("pgxstore: %w", err)
	}
	return b, true, nil
}

// CommitCtx stores a session until expiry. A session that was deleted stays
// deleted: committing it does nothing and returns nil.
func (s *Store) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	_, err := s.write(ctx, `INSERT INTO mxm_sessions AS stored (token, data, expiry) VALUES ($1, $2, now() + make_interval(secs => $3))
		ON CONFLICT (token) DO UPDATE SET data = excluded.data, expiry = excluded.expiry
		WHERE stored.data IS NOT NULL OR stored.expiry <= now()`,
		[]byte(token), blob(b), left(expiry))
	return err
}

// DeleteCtx ends a session and leaves a tombstone for the rest of its life and
// an hour, because a request that is still running may have moved its end. A
// session that is unknown or expired leaves nothing behind.
func (s *Store) DeleteCtx(ctx context.Context, token string) error {
	ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	_, err := s.write(ctx, `UPDATE mxm_sessions SET data = NULL, expiry = expiry + interval '1 hour'
		WHERE token = $1 AND data IS NOT NULL AND expiry > now()`, []byte(token))
	return err
}

// KeepsDeleted reports that a deleted session stays deleted.
func (s *Store) KeepsDeleted() bool { return true }

// Find is FindCtx without a context.
func (s *Store) Find(token string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), token)
}

// Commit is CommitCtx without a context.
func (s *Store) Commit(token string, b []byte, expiry time.Time) error {
	return s.CommitCtx(context.Background(), token, b, expiry)
}

// Delete is DeleteCtx without a context.
func (s *Store) Delete(token string) error {
	return s.DeleteCtx(context.Background(), token)
}
