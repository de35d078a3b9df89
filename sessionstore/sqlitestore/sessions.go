package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// tombstoneMargin is how much a tombstone outlives its session: a request that
// is still running may have moved the session's end.
const tombstoneMargin = time.Hour

// FindCtx returns the data of a session. A session that is unknown, deleted or
// expired is found=false and no error.
func (s *Store) FindCtx(ctx context.Context, token string) (b []byte, found bool, err error) {
	err = s.db.QueryRowContext(ctx, `SELECT data FROM mxm_sessions WHERE token = ?1 AND data IS NOT NULL AND expiry > ?2`,
		[]byte(token), micros(time.Now())).Scan(&b)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("sqlitestore: %w", err)
	}
	return b, true, nil
}

// CommitCtx stores a session until expiry. A session that was deleted stays
// deleted: committing it does nothing and returns nil.
func (s *Store) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	_, err := s.write(ctx, `INSERT INTO mxm_sessions (token, data, expiry) VALUES (?1, ?2, ?3)
		ON CONFLICT (token) DO UPDATE SET data = excluded.data, expiry = excluded.expiry
		WHERE mxm_sessions.data IS NOT NULL OR mxm_sessions.expiry <= ?4`,
		[]byte(token), blob(b), micros(expiry), micros(time.Now()))
	return err
}

// DeleteCtx ends a session and leaves a tombstone for the rest of its life and
// an hour. A session that is unknown or expired leaves nothing behind.
func (s *Store) DeleteCtx(ctx context.Context, token string) error {
	_, err := s.write(ctx, `UPDATE mxm_sessions SET data = NULL, expiry = expiry + ?2
		WHERE token = ?1 AND data IS NOT NULL AND expiry > ?3`,
		[]byte(token), tombstoneMargin.Microseconds(), micros(time.Now()))
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
