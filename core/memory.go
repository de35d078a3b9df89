package core

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"
)

const (
	memoryShards = 64
	sweepEvery   = time.Minute

	// The tombstone of a session outlives it by this much. A request that is still
	// running may have moved the session's end (an idle timeout), or may read
	// another clock.
	tombstoneMargin = time.Hour
)

var (
	errNoVersion = errors.New("core: a record needs a version")
	errNoLimit   = errors.New("core: a page needs a limit of at least 1")
)

// Memory keeps sessions and grants in the memory of one process. Nobody else
// shares them, and they are gone when the process ends. It is a [scs.CtxStore]
// whose deleted sessions cannot come back, and a [GrantStore]. It is the
// reference for the other stores: they do what it does.
//
// It is safe for concurrent use, and copies what it takes and returns. It starts
// no goroutine: writes remove what has expired.
type Memory struct {
	seed             maphash.Seed
	sessions, grants [memoryShards]memoryShard
}

type memoryShard struct {
	mu      sync.RWMutex
	entries map[string]memoryEntry
	swept   time.Time
}

type memoryEntry struct {
	Record
	deleted bool // the tombstone of a session
}

var (
	_ scs.CtxStore = (*Memory)(nil)
	_ GrantStore   = (*Memory)(nil)
	_ GrantLister  = (*Memory)(nil)
)

// NewMemory returns an empty Memory.
func NewMemory() *Memory {
	return &Memory{seed: maphash.MakeSeed()}
}

// FindCtx returns the data of a session. If the session is unknown, deleted or
// expired, found is false and err is nil.
func (m *Memory) FindCtx(ctx context.Context, token string) (b []byte, found bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	e, ok := m.shard(&m.sessions, token).find(token)
	if !ok || e.deleted {
		return nil, false, nil
	}
	return bytes.Clone(e.Data), true, nil
}

// CommitCtx stores a session until expiry. A deleted session stays deleted:
// committing it does nothing and returns nil. An expired session starts afresh.
// A session whose expiry has passed already is not found.
func (m *Memory) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s := m.shard(&m.sessions, token)
	s.mu.Lock()
	defer s.mu.Unlock()

	now := time.Now()
	if e, ok := s.live(token, now); ok && e.deleted {
		return nil
	}
	if expiry.IsZero() { // "never" for a record, but "long ago" for scs
		expiry = time.Unix(0, 0)
	}
	s.put(token, memoryEntry{Record: Record{Data: bytes.Clone(b), Expiry: expiry}}, now)
	return nil
}

// DeleteCtx ends a session and leaves a tombstone for the rest of its life and
// an hour. An unknown or expired session leaves nothing.
func (m *Memory) DeleteCtx(ctx context.Context, token string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s := m.shard(&m.sessions, token)
	s.mu.Lock()
	defer s.mu.Unlock()

	now := time.Now()
	if e, ok := s.live(token, now); ok && !e.deleted {
		s.put(token, memoryEntry{Record: Record{Expiry: e.Expiry.Add(tombstoneMargin)}, deleted: true}, now)
	}
	return nil
}

// KeepsDeleted reports that a deleted session stays deleted.
func (m *Memory) KeepsDeleted() bool { return true }

// Find is FindCtx without a context.
func (m *Memory) Find(token string) ([]byte, bool, error) {
	return m.FindCtx(context.Background(), token)
}

// Commit is CommitCtx without a context.
func (m *Memory) Commit(token string, b []byte, expiry time.Time) error {
	return m.CommitCtx(context.Background(), token, b, expiry)
}

// Delete is DeleteCtx without a context.
func (m *Memory) Delete(token string) error {
	return m.DeleteCtx(context.Background(), token)
}

// FindGrant implements [GrantStore].
func (m *Memory) FindGrant(ctx context.Context, key string) (r Record, found bool, err error) {
	if err := ctx.Err(); err != nil {
		return Record{}, false, err
	}
	e, ok := m.shard(&m.grants, key).find(key)
	if !ok {
		return Record{}, false, nil
	}
	e.Data = bytes.Clone(e.Data)
	return e.Record, true, nil
}

// CommitGrant implements [GrantStore].
func (m *Memory) CommitGrant(ctx context.Context, key, old string, r Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.Version == "" {
		return errNoVersion
	}
	s := m.shard(&m.grants, key)
	s.mu.Lock()
	defer s.mu.Unlock()

	now := time.Now()
	if e, _ := s.live(key, now); e.Version != old {
		return ErrConflict
	}
	r.Data = bytes.Clone(r.Data)
	s.put(key, memoryEntry{Record: r}, now)
	return nil
}

// DeleteGrant implements [GrantStore].
func (m *Memory) DeleteGrant(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s := m.shard(&m.grants, key)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entries, key)
	return nil
}

// ListGrants implements [GrantLister]. A page is of one shard. A cursor is the
// number of the shard and the last key that was returned of it.
func (m *Memory) ListGrants(ctx context.Context, cursor string, limit int) (keys []string, next string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	if limit < 1 {
		return nil, "", errNoLimit
	}
	number, after, _ := strings.Cut(cursor, " ")
	i, err := strconv.Atoi(number)
	if err != nil || i < 0 || i >= memoryShards {
		i, after = 0, ""
	}
	keys = m.grants[i].keysAfter(after)
	if len(keys) > limit {
		keys = keys[:limit:limit]
		return keys, fmt.Sprint(i, " ", keys[limit-1]), nil
	}
	if i+1 < memoryShards {
		next = strconv.Itoa(i + 1)
	}
	return keys, next, nil
}

func (m *Memory) shard(shards *[memoryShards]memoryShard, key string) *memoryShard {
	return &shards[maphash.String(m.seed, key)%memoryShards]
}

func (s *memoryShard) find(key string) (memoryEntry, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.live(key, time.Now())
}

func (s *memoryShard) live(key string, now time.Time) (memoryEntry, bool) {
	if e, ok := s.entries[key]; ok && !e.expired(now) {
		return e, true
	}
	return memoryEntry{}, false
}

// keysAfter returns the keys that follow after, in their order.
func (s *memoryShard) keysAfter(after string) (keys []string) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	now := time.Now()
	for k, e := range s.entries {
		if k > after && !e.expired(now) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

func (s *memoryShard) put(key string, e memoryEntry, now time.Time) {
	if s.entries == nil {
		s.entries, s.swept = make(map[string]memoryEntry), now
	}
	if e.expired(now) {
		delete(s.entries, key)
	} else {
		s.entries[key] = e
	}
	if now.Sub(s.swept) < sweepEvery {
		return
	}
	s.swept = now
	before := len(s.entries)
	maps.DeleteFunc(s.entries, func(_ string, e memoryEntry) bool { return e.expired(now) })
	if len(s.entries) < before/2 {
		few := make(map[string]memoryEntry, len(s.entries)) // a map never shrinks, and its clone is as large
		maps.Copy(few, s.entries)
		s.entries = few
	}
}

func (e memoryEntry) expired(now time.Time) bool {
	return !e.Expiry.IsZero() && !now.Before(e.Expiry)
}
