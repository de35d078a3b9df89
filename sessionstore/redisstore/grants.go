package redisstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/redis/go-redis/v9"
)

// A grant is a hash of its version (v) and its data (d).

var findGrant = redis.NewScript(`
local r = redis.call('HMGET', KEYS[1], 'v', 'd')
if not r[1] then
	return false
end
return {r[1], r[2], redis.call('PTTL', KEYS[1])}`)

// That the version stored is the one to be written means that go-redis repeated
// a command whose answer was lost.
var commitGrant = redis.NewScript(`
local v = redis.call('HGET', KEYS[1], 'v') or ''
if v == ARGV[2] then
	return 1
end
if v ~= ARGV[1] then
	return 0
end
local left = tonumber(ARGV[4])
if left < 0 then
	redis.call('DEL', KEYS[1])
	return 1
end
redis.call('HSET', KEYS[1], 'v', ARGV[2], 'd', ARGV[3])
if left > 0 then
	redis.call('PEXPIRE', KEYS[1], ARGV[4])
else
	redis.call('PERSIST', KEYS[1])
end
return 1`)

func (s *Store) grantKey(key string) string { return s.prefix + "grant:" + key }

// FindGrant implements [core.GrantStore].
func (s *Store) FindGrant(ctx context.Context, key string) (r core.Record, found bool, err error) {
	v, err := s.run(ctx, findGrant, s.grantKey(key))
	if err != nil || v == nil {
		return core.Record{}, false, err
	}
	if fields, _ := v.([]any); len(fields) == 3 {
		version, _ := fields[0].(string)
		data, isData := fields[1].(string)
		ms, isTime := fields[2].(int64)
		if isData && isTime {
			r = core.Record{Data: []byte(data), Version: version}
			if ms >= 0 {
				r.Expiry = time.Now().Add(time.Duration(ms) * time.Millisecond)
			}
			return r, true, nil
		}
	}
	return core.Record{}, false, fmt.Errorf("redisstore: the server answered a script with %T", v)
}

// CommitGrant implements [core.GrantStore].
func (s *Store) CommitGrant(ctx context.Context, key, old string, r core.Record) error {
	if r.Version == "" {
		return errors.New("redisstore: a record needs a version")
	}
	ms := int64(0) // never
	if !r.Expiry.IsZero() {
		if ms = left(r.Expiry); ms <= 0 {
			ms = -1 // at once
		}
	}
	version := &counted{value: r.Version}
	keys, args := []string{s.grantKey(key)}, []any{old, version, r.Data, ms}
	v, err := commitGrant.EvalSha(ctx, s.client, keys, args...).Result()
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		version.sent-- // it did nothing
		v, err = commitGrant.Eval(ctx, s.client, keys, args...).Result()
	}
	switch {
	case err != nil:
		return fmt.Errorf("redisstore: %w", err)
	case v == int64(0) && version.sent > 1:
		return errors.New("redisstore: the answer to a write was lost; it may have succeeded and been replaced before it was repeated")
	case v == int64(0):
		return core.ErrConflict
	}
	return nil
}

// counted is an argument that counts how often go-redis sends its command.
type counted struct {
	value string
	sent  int
}

// MarshalBinary implements [encoding.BinaryMarshaler].
func (c *counted) MarshalBinary() ([]byte, error) {
	c.sent++
	return []byte(c.value), nil
}

// DeleteGrant implements [core.GrantStore].
func (s *Store) DeleteGrant(ctx context.Context, key string) error {
	if err := s.client.Del(ctx, s.grantKey(key)).Err(); err != nil {
		return s.failed(ctx, err)
	}
	return nil
}
