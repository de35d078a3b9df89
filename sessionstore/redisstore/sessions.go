package redisstore

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// A session is a string: a byte that says so, and its data. Its tombstone is the
// empty string, which GET tells from both at no cost.
const sessionMark = "s"

// tombstoneMargin is how much a tombstone outlives its session: a request that
// is still running may have moved the session's end.
const tombstoneMargin = time.Hour

var commitSession = redis.NewScript(`
if redis.call('EXISTS', KEYS[1]) == 1 and redis.call('STRLEN', KEYS[1]) == 0 then
	return 0
end
if tonumber(ARGV[2]) > 0 then
	redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
else
	redis.call('DEL', KEYS[1])
end
return 1`)

var deleteSession = redis.NewScript(`
local left = redis.call('PTTL', KEYS[1])
if left == -2 or redis.call('STRLEN', KEYS[1]) == 0 then
	return 0
end
redis.call('SET', KEYS[1], '', 'PX', math.max(left, 0) + tonumber(ARGV[1]))
return 1`)

func (s *Store) sessionKey(token string) string { return s.prefix + "session:" + token }

// FindCtx returns the data of a session. A session that is unknown, deleted or
// expired is found=false and no error.
func (s *Store) FindCtx(ctx context.Context, token string) (b []byte, found bool, err error) {
	b, err = s.client.Get(ctx, s.sessionKey(token)).Bytes()
	if errors.Is(err, redis.Nil) || err == nil && len(b) == 0 {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, s.failed(ctx, err)
	}
	return b[len(sessionMark):], true, nil
}

// CommitCtx stores a session until expiry. A session that was deleted stays
// deleted: committing it does nothing and returns nil. One that has merely
// expired starts afresh.
func (s *Store) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	_, err := s.run(ctx, commitSession, s.sessionKey(token), sessionMark+string(b), left(expiry))
	return err
}

// DeleteCtx ends a session and leaves a tombstone for the rest of its life and
// an hour. A session that is unknown or expired leaves nothing behind.
func (s *Store) DeleteCtx(ctx context.Context, token string) error {
	_, err := s.run(ctx, deleteSession, s.sessionKey(token), tombstoneMargin.Milliseconds())
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
