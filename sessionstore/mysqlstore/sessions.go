package mysqlstore

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

const (
	findSession = `SELECT data FROM mxm_sessions WHERE token = ? AND data IS NOT NULL AND expiry > UTC_TIMESTAMP(6)`

	// The assignments are carried out in this order. Both conditions see the same:
	// the first leaves a tombstone without data, and gives data to what is none.
	commitSession = `INSERT INTO mxm_sessions (token, data, expiry) VALUES (?, ?, UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND)
		ON DUPLICATE KEY UPDATE
			data = IF(data IS NULL AND expiry > UTC_TIMESTAMP(6), NULL, VALUES(data)),
			expiry = IF(data IS NULL AND expiry > UTC_TIMESTAMP(6), expiry, VALUES(expiry))`

	deleteSession = `UPDATE mxm_sessions SET data = NULL, expiry = expiry + INTERVAL 1 HOUR
		WHERE token = ? AND data IS NOT NULL AND expiry > UTC_TIMESTAMP(6)`
)

// FindCtx returns the data of a session. A session that is unknown, deleted or
// expired is found=false and no error.
func (s *Store) FindCtx(ctx context.Context, token string) (b []byte, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	err = s.findSession.QueryRowContext(ctx, []byte(token)).Scan(&b)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("mysqlstore: %w", err)
	}
	return b, true, nil
}

// CommitCtx stores a session until expiry. A session that was deleted stays
// deleted: committing it does nothing and returns nil.
func (s *Store) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	_, err := write(ctx, s.commitSession, []byte(token), blob(b), left(expiry))
	return err
}

// DeleteCtx ends a session and leaves a tombstone for the rest of its life and
// an hour, because a request that is still running may have moved its end. A
// session that is unknown or expired leaves nothing behind.
func (s *Store) DeleteCtx(ctx context.Context, token string) error {
	ctx, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	_, err := write(ctx, s.deleteSession, []byte(token))
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
