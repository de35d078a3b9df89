package storetest_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest"
	"github.com/stretchr/testify/require"
)

// hooks is a good store of which single methods are replaced by bad ones.
type hooks struct {
	*core.Memory
	find        func(ctx context.Context, token string) ([]byte, bool, error)
	plainFind   func(token string) ([]byte, bool, error)
	commit      func(ctx context.Context, token string, b []byte, expiry time.Time) error
	delete      func(ctx context.Context, token string) error
	findGrant   func(ctx context.Context, key string) (core.Record, bool, error)
	commitGrant func(ctx context.Context, key, old string, r core.Record) error
	deleteGrant func(ctx context.Context, key string) error
	listGrants  func(ctx context.Context, cursor string, limit int) ([]string, string, error)
	silent      bool // about what it keeps
}

func (h *hooks) KeepsDeleted() bool { return !h.silent }

func (h *hooks) Find(token string) ([]byte, bool, error) {
	if h.plainFind != nil {
		return h.plainFind(token)
	}
	return h.FindCtx(context.Background(), token)
}
func (h *hooks) Commit(token string, b []byte, expiry time.Time) error {
	return h.CommitCtx(context.Background(), token, b, expiry)
}
func (h *hooks) Delete(token string) error { return h.DeleteCtx(context.Background(), token) }

func (h *hooks) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	if h.find != nil {
		return h.find(ctx, token)
	}
	return h.Memory.FindCtx(ctx, token)
}

func (h *hooks) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	if h.commit != nil {
		return h.commit(ctx, token, b, expiry)
	}
	return h.Memory.CommitCtx(ctx, token, b, expiry)
}

func (h *hooks) DeleteCtx(ctx context.Context, token string) error {
	if h.delete != nil {
		return h.delete(ctx, token)
	}
	return h.Memory.DeleteCtx(ctx, token)
}

func (h *hooks) FindGrant(ctx context.Context, key string) (core.Record, bool, error) {
	if h.findGrant != nil {
		return h.findGrant(ctx, key)
	}
	return h.Memory.FindGrant(ctx, key)
}

func (h *hooks) CommitGrant(ctx context.Context, key, old string, r core.Record) error {
	if h.commitGrant != nil {
		return h.commitGrant(ctx, key, old, r)
	}
	return h.Memory.CommitGrant(ctx, key, old, r)
}

func (h *hooks) DeleteGrant(ctx context.Context, key string) error {
	if h.deleteGrant != nil {
		return h.deleteGrant(ctx, key)
	}
	return h.Memory.DeleteGrant(ctx, key)
}

func (h *hooks) ListGrants(ctx context.Context, cursor string, limit int) ([]string, string, error) {
	if h.listGrants != nil {
		return h.listGrants(ctx, cursor, limit)
	}
	return h.Memory.ListGrants(ctx, cursor, limit)
}

// shelf remembers values by key for the mutants that need a memory of their own.
type shelf[V any] struct {
	mu sync.Mutex
	m  map[string]V
}

func (s *shelf[V]) put(k string, v V) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = make(map[string]V)
	}
	s.m[k] = v
}

func (s *shelf[V]) get(k string) (V, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.m[k]
	return v, ok
}

var errMutant = errors.New("not found")

// mutants are stores with one mistake each, and the case that must catch it.
var mutants = []struct {
	name, caught string
	breakIt      func(h *hooks)
}{
	{"none", "", func(h *hooks) {}},

	{"forgets sessions", "Sessions/commit and find", func(h *hooks) {
		h.commit = func(context.Context, string, []byte, time.Time) error { return nil }
	}},
	{"errs when not found", "Sessions/unknown", func(h *hooks) {
		h.find = func(ctx context.Context, token string) ([]byte, bool, error) {
			b, found, err := h.Memory.FindCtx(ctx, token)
			if !found {
				err = errMutant
			}
			return b, found, err
		}
	}},
	{"keeps the first data", "Sessions/overwrite", func(h *hooks) {
		h.commit = func(ctx context.Context, token string, b []byte, expiry time.Time) error {
			if first, found, _ := h.Memory.FindCtx(ctx, token); found {
				b = first
			}
			return h.Memory.CommitCtx(ctx, token, b, expiry)
		}
	}},
	{"never extends", "Sessions/extend", func(h *hooks) {
		var ends shelf[time.Time]
		h.commit = func(ctx context.Context, token string, b []byte, expiry time.Time) error {
			if end, ok := ends.get(token); ok && end.Before(expiry) && end.After(time.Now()) {
				expiry = end
			}
			ends.put(token, expiry)
			return h.Memory.CommitCtx(ctx, token, b, expiry)
		}
	}},
	{"never shortens", "Sessions/shorten", func(h *hooks) {
		var ends shelf[time.Time]
		h.commit = func(ctx context.Context, token string, b []byte, expiry time.Time) error {
			if end, ok := ends.get(token); ok && end.After(expiry) {
				expiry = end
			}
			ends.put(token, expiry)
			return h.Memory.CommitCtx(ctx, token, b, expiry)
		}
	}},
	{"counts in minutes", "Sessions/expiry", func(h *hooks) {
		h.commit = func(ctx context.Context, token string, b []byte, expiry time.Time) error {
			return h.Memory.CommitCtx(ctx, token, b, expiry.Add(time.Minute))
		}
	}},
	{"never takes back what expired", "Sessions/expired starts afresh", func(h *hooks) {
		var ends shelf[time.Time]
		h.commit = func(ctx context.Context, token string, b []byte, expiry time.Time) error {
			if end, ok := ends.get(token); ok && end.Before(time.Now()) {
				return nil
			}
			ends.put(token, expiry)
			return h.Memory.CommitCtx(ctx, token, b, expiry)
		}
	}},
	{"overflows", "Sessions/far expiry", func(h *hooks) {
		h.commit = func(ctx context.Context, token string, b []byte, expiry time.Time) error {
			return h.Memory.CommitCtx(ctx, token, b, time.Unix(0, expiry.UnixNano()))
		}
	}},
	{"refuses a past expiry", "Sessions/past expiry", func(h *hooks) {
		h.commit = func(ctx context.Context, token string, b []byte, expiry time.Time) error {
			if expiry.Before(time.Now()) {
				return errMutant
			}
			return h.Memory.CommitCtx(ctx, token, b, expiry)
		}
	}},
	{"deletes everything", "Sessions/delete", func(h *hooks) {
		var memory atomic.Pointer[core.Memory]
		memory.Store(h.Memory)
		h.find = func(ctx context.Context, token string) ([]byte, bool, error) {
			return memory.Load().FindCtx(ctx, token)
		}
		h.commit = func(ctx context.Context, token string, b []byte, expiry time.Time) error {
			return memory.Load().CommitCtx(ctx, token, b, expiry)
		}
		h.delete = func(ctx context.Context, token string) error {
			memory.Store(core.NewMemory())
			return ctx.Err()
		}
	}},
	{"deletes nothing", "Sessions/delete", func(h *hooks) {
		h.delete = func(context.Context, string) error { return nil }
	}},
	{"buries the unknown", "Sessions/delete unknown", func(h *hooks) {
		h.delete = func(ctx context.Context, token string) error {
			if _, found, _ := h.Memory.FindCtx(ctx, token); !found {
				h.Memory.CommitCtx(ctx, token, nil, time.Now().Add(time.Hour))
			}
			return h.Memory.DeleteCtx(ctx, token)
		}
	}},
	{"buries the expired", "Sessions/delete expired", func(h *hooks) {
		var seen shelf[bool]
		h.commit = func(ctx context.Context, token string, b []byte, expiry time.Time) error {
			seen.put(token, true)
			return h.Memory.CommitCtx(ctx, token, b, expiry)
		}
		h.delete = func(ctx context.Context, token string) error {
			if known, _ := seen.get(token); known {
				h.Memory.CommitCtx(ctx, token, nil, time.Now().Add(time.Hour))
			}
			return h.Memory.DeleteCtx(ctx, token)
		}
	}},
	{"revives", "Sessions/deleted stays deleted", revives},
	{"revives in some order", "Sessions/every interleaving", revives},
	{"revives for scs, destroyed", "Sessions/scs: destroy", revives},
	{"revives for scs, renewed", "Sessions/scs: renew", revives},
	{"revives for scs, over HTTP", "Sessions/scs: slow request over HTTP", revives},
	{"no tombstone for what is empty", "Sessions/deleted before it began", func(h *hooks) {
		var empty shelf[bool]
		h.commit = func(ctx context.Context, token string, b []byte, expiry time.Time) error {
			if gone, _ := empty.get(token); gone {
				token += "again"
			}
			return h.Memory.CommitCtx(ctx, token, b, expiry)
		}
		h.delete = func(ctx context.Context, token string) error {
			b, found, _ := h.Memory.FindCtx(ctx, token)
			empty.put(token, found && len(b) == 0)
			return h.Memory.DeleteCtx(ctx, token)
		}
		h.find = func(ctx context.Context, token string) ([]byte, bool, error) {
			if b, found, err := h.Memory.FindCtx(ctx, token+"again"); found {
				return b, found, err
			}
			return h.Memory.FindCtx(ctx, token)
		}
	}},
	{"does not say so", "Sessions/says so", func(h *hooks) { h.silent = true }},
	{"tombstone dies with the session", "Sessions/deleted outlives its life", func(h *hooks) {
		var ends shelf[time.Time]
		h.commit = func(ctx context.Context, token string, b []byte, expiry time.Time) error {
			if _, found, _ := h.Memory.FindCtx(ctx, token); found || !known(&ends, token) {
				ends.put(token, expiry)
			}
			if end, _ := ends.get(token); end.Before(time.Now()) {
				token += "again"
			}
			return h.Memory.CommitCtx(ctx, token, b, expiry)
		}
		h.find = func(ctx context.Context, token string) ([]byte, bool, error) {
			if b, found, err := h.Memory.FindCtx(ctx, token+"again"); found {
				return b, found, err
			}
			return h.Memory.FindCtx(ctx, token)
		}
	}},
	{"deletes in two steps", "Sessions/concurrent commit and delete", func(h *hooks) {
		var dead shelf[bool]
		inner := core.NewMemory()
		h.find = inner.FindCtx
		h.commit = func(ctx context.Context, token string, b []byte, expiry time.Time) error {
			if deleted, _ := dead.get(token); deleted {
				return nil
			}
			time.Sleep(time.Millisecond) // between the check and the write
			_ = inner.DeleteGrant(ctx, token)
			return inner.CommitCtx(ctx, token, b, expiry)
		}
		h.delete = func(ctx context.Context, token string) error {
			dead.put(token, true)
			return inner.CommitCtx(ctx, token, nil, time.Now().Add(-time.Hour))
		}
	}},
	{"stops at a zero byte", "Sessions/values", func(h *hooks) {
		h.commit = func(ctx context.Context, token string, b []byte, expiry time.Time) error {
			b, _, _ = bytes.Cut(b, []byte{0})
			return h.Memory.CommitCtx(ctx, token, b, expiry)
		}
	}},
	{"keeps the caller's bytes", "Sessions/ownership", func(h *hooks) {
		var data shelf[[]byte]
		h.commit = func(ctx context.Context, token string, b []byte, expiry time.Time) error {
			data.put(token, b)
			return h.Memory.CommitCtx(ctx, token, b, expiry)
		}
		h.find = func(ctx context.Context, token string) ([]byte, bool, error) {
			_, found, err := h.Memory.FindCtx(ctx, token)
			b, _ := data.get(token)
			return b, found, err
		}
	}},
	{"folds case", "Sessions/tokens are told apart", func(h *hooks) {
		h.find = func(ctx context.Context, token string) ([]byte, bool, error) {
			return h.Memory.FindCtx(ctx, strings.ToLower(token))
		}
		h.commit = func(ctx context.Context, token string, b []byte, expiry time.Time) error {
			return h.Memory.CommitCtx(ctx, strings.ToLower(token), b, expiry)
		}
	}},
	{"ignores the context", "Sessions/context", func(h *hooks) {
		h.find = func(ctx context.Context, token string) ([]byte, bool, error) { return h.Memory.Find(token) }
	}},
	{"is another store without a context", "Sessions/without a context", func(h *hooks) {
		h.plainFind = core.NewMemory().Find
	}},
	{"keeps sessions among grants", "Sessions/apart from grants", func(h *hooks) {
		h.delete = func(ctx context.Context, token string) error {
			if err := h.Memory.DeleteGrant(ctx, token); err != nil {
				return err
			}
			return h.Memory.DeleteCtx(ctx, token)
		}
	}},
	{"loses data under scs", "Sessions/scs: load and commit", func(h *hooks) {
		h.commit = func(ctx context.Context, token string, b []byte, expiry time.Time) error {
			return h.Memory.CommitCtx(ctx, token+"x", b, expiry)
		}
	}},

	{"errs when absent", "Grants/absent", func(h *hooks) {
		h.findGrant = func(ctx context.Context, key string) (core.Record, bool, error) {
			r, found, err := h.Memory.FindGrant(ctx, key)
			if !found {
				err = errMutant
			}
			return r, found, err
		}
	}},
	{"forgets the expiry", "Grants/create", func(h *hooks) {
		h.findGrant = func(ctx context.Context, key string) (core.Record, bool, error) {
			r, found, err := h.Memory.FindGrant(ctx, key)
			r.Expiry = time.Time{}
			return r, found, err
		}
	}},
	{"makes up an expiry", "Grants/zero expiry", func(h *hooks) {
		h.findGrant = func(ctx context.Context, key string) (core.Record, bool, error) {
			r, found, err := h.Memory.FindGrant(ctx, key)
			if r.Expiry.IsZero() {
				r.Expiry = time.Unix(0, 0)
			}
			return r, found, err
		}
	}},
	{"creates over a record", "Grants/create over a record", func(h *hooks) { blind(h, func(old string) bool { return old == "" }) }},
	{"never replaces", "Grants/replace", func(h *hooks) {
		h.commitGrant = func(ctx context.Context, key, old string, r core.Record) error {
			if old != "" {
				return errors.Join(ctx.Err(), core.ErrConflict)
			}
			return h.Memory.CommitGrant(ctx, key, old, r)
		}
	}},
	{"does not compare", "Grants/replace another version", func(h *hooks) { blind(h, func(old string) bool { return old != "" }) }},
	{"upserts", "Grants/replace what is absent", func(h *hooks) { blind(h, func(old string) bool { return old != "" }) }},
	{"deletes no grant", "Grants/delete", func(h *hooks) {
		h.deleteGrant = func(ctx context.Context, key string) error { return ctx.Err() }
	}},
	{"errs deleting nothing", "Grants/delete", func(h *hooks) {
		h.deleteGrant = func(ctx context.Context, key string) error {
			if _, found, _ := h.Memory.FindGrant(ctx, key); !found {
				return errMutant
			}
			return h.Memory.DeleteGrant(ctx, key)
		}
	}},
	{"remembers the old version", "Grants/deleted and created again", func(h *hooks) {
		var first shelf[string]
		h.commitGrant = func(ctx context.Context, key, old string, r core.Record) error {
			if v, ok := first.get(key); ok && old == v {
				stored, _, _ := h.Memory.FindGrant(ctx, key)
				old = stored.Version
			} else if !ok {
				first.put(key, r.Version)
			}
			return h.Memory.CommitGrant(ctx, key, old, r)
		}
	}},
	{"keeps grants for ever", "Grants/expiry", func(h *hooks) {
		h.commitGrant = func(ctx context.Context, key, old string, r core.Record) error {
			r.Expiry = time.Time{}
			return h.Memory.CommitGrant(ctx, key, old, r)
		}
	}},
	{"replaces what expired", "Grants/expired is absent", func(h *hooks) {
		var last shelf[string]
		h.commitGrant = func(ctx context.Context, key, old string, r core.Record) error {
			if v, ok := last.get(key); ok && old == v {
				stored, _, _ := h.Memory.FindGrant(ctx, key)
				old = stored.Version
			}
			err := h.Memory.CommitGrant(ctx, key, old, r)
			if err == nil {
				last.put(key, r.Version)
			}
			return err
		}
	}},
	{"keeps the first expiry", "Grants/expiry replaced", func(h *hooks) {
		h.commitGrant = func(ctx context.Context, key, old string, r core.Record) error {
			if stored, found, _ := h.Memory.FindGrant(ctx, key); found {
				r.Expiry = stored.Expiry
			}
			return h.Memory.CommitGrant(ctx, key, old, r)
		}
	}},
	{"keeps what is past", "Grants/past expiry", func(h *hooks) {
		h.commitGrant = func(ctx context.Context, key, old string, r core.Record) error {
			if !r.Expiry.IsZero() && r.Expiry.Before(time.Now()) {
				r.Expiry = time.Time{}
			}
			return h.Memory.CommitGrant(ctx, key, old, r)
		}
	}},
	{"overflows for grants", "Grants/far expiry", func(h *hooks) {
		h.commitGrant = func(ctx context.Context, key, old string, r core.Record) error {
			if !r.Expiry.IsZero() {
				r.Expiry = time.Unix(0, r.Expiry.UnixNano())
			}
			return h.Memory.CommitGrant(ctx, key, old, r)
		}
	}},
	{"makes up a version", "Grants/no version", func(h *hooks) {
		h.commitGrant = func(ctx context.Context, key, old string, r core.Record) error {
			r.Version = max(r.Version, "0")
			return h.Memory.CommitGrant(ctx, key, old, r)
		}
	}},
	{"compares and then swaps, creating", "Grants/100 create", twoSteps},
	{"compares and then swaps, replacing", "Grants/100 replace", twoSteps},
	{"compares and then swaps, counting", "Grants/100 count", twoSteps},
	{"says yes when interrupted", "Grants/interrupted", func(h *hooks) {
		h.commitGrant = func(ctx context.Context, key, old string, r core.Record) error {
			err := h.Memory.CommitGrant(ctx, key, old, r)
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}},
	{"ignores the context for grants", "Grants/context", func(h *hooks) {
		h.deleteGrant = func(ctx context.Context, key string) error {
			return h.Memory.DeleteGrant(context.WithoutCancel(ctx), key)
		}
	}},
	{"keeps text only", "Grants/values", func(h *hooks) {
		h.commitGrant = func(ctx context.Context, key, old string, r core.Record) error {
			r.Data = bytes.ToValidUTF8(r.Data, []byte("?"))
			return h.Memory.CommitGrant(ctx, key, old, r)
		}
	}},
	{"cuts keys short", "Grants/keys", func(h *hooks) {
		cut := func(key string) string { return key[:min(len(key), 127)] }
		h.findGrant = func(ctx context.Context, key string) (core.Record, bool, error) {
			return h.Memory.FindGrant(ctx, cut(key))
		}
		h.commitGrant = func(ctx context.Context, key, old string, r core.Record) error {
			return h.Memory.CommitGrant(ctx, cut(key), old, r)
		}
	}},
	{"hands out its own bytes", "Grants/ownership", func(h *hooks) {
		var data shelf[[]byte]
		h.findGrant = func(ctx context.Context, key string) (core.Record, bool, error) {
			r, found, err := h.Memory.FindGrant(ctx, key)
			own, ok := data.get(key + r.Version)
			if !ok {
				own = r.Data
				data.put(key+r.Version, own)
			}
			r.Data = own
			return r, found, err
		}
	}},

	{"hides the last key", "Lister/quiet sweep", func(h *hooks) {
		h.listGrants = func(ctx context.Context, cursor string, limit int) ([]string, string, error) {
			keys, next, err := h.Memory.ListGrants(ctx, cursor, limit)
			return keys[:max(len(keys)-1, 0)], next, err
		}
	}},
	{"lists everything at once", "Lister/page", func(h *hooks) {
		h.listGrants = func(ctx context.Context, _ string, _ int) ([]string, string, error) {
			keys, err := h.all(ctx)
			return keys, "", err
		}
	}},
	{"lists what it hashed to", "Lister/keys as they are", func(h *hooks) {
		h.listGrants = func(ctx context.Context, cursor string, limit int) ([]string, string, error) {
			keys, next, err := h.Memory.ListGrants(ctx, cursor, limit)
			for i := range keys {
				keys[i] = strings.ToUpper(keys[i])
			}
			return keys, next, err
		}
	}},
	{"lists the dead", "Lister/gone", func(h *hooks) {
		var ever shelf[bool]
		h.commitGrant = func(ctx context.Context, key, old string, r core.Record) error {
			ever.put(key, true)
			return h.Memory.CommitGrant(ctx, key, old, r)
		}
		h.listGrants = func(ctx context.Context, _ string, limit int) ([]string, string, error) {
			return slices.Collect(maps.Keys(ever.m)), "", ctx.Err()
		}
	}},
	{"lists what never ends", "Lister/with and without an expiry", func(h *hooks) {
		h.listGrants = func(ctx context.Context, cursor string, limit int) ([]string, string, error) {
			keys, next, err := h.Memory.ListGrants(ctx, cursor, limit)
			return slices.DeleteFunc(keys, func(key string) bool {
				r, _, _ := h.Memory.FindGrant(ctx, key)
				return !r.Expiry.IsZero()
			}), next, err
		}
	}},
	{"lists sessions", "Lister/sessions", func(h *hooks) {
		h.commit = func(ctx context.Context, token string, b []byte, expiry time.Time) error {
			return errors.Join(h.Memory.CommitCtx(ctx, token, b, expiry), h.Memory.CommitGrant(ctx, token, "", core.Record{Version: "v1"}))
		}
	}},
	{"pages by offset", "Lister/deleted as they are returned", func(h *hooks) {
		h.listGrants = func(ctx context.Context, cursor string, limit int) ([]string, string, error) {
			offset, _ := strconv.Atoi(cursor)
			keys, err := h.all(ctx)
			keys = keys[min(offset, len(keys)):]
			if len(keys) <= limit {
				return keys, "", err
			}
			return keys[:limit], strconv.Itoa(offset + limit), err
		}
	}},
	{"skips keys when something is written", "Lister/writes meanwhile", func(h *hooks) {
		var writes, before atomic.Int64
		h.commitGrant = func(ctx context.Context, key, old string, r core.Record) error {
			writes.Add(1)
			return h.Memory.CommitGrant(ctx, key, old, r)
		}
		h.listGrants = func(ctx context.Context, cursor string, limit int) ([]string, string, error) {
			keys, next, err := h.Memory.ListGrants(ctx, cursor, limit)
			if n := writes.Load(); n != before.Swap(n) && cursor != "" {
				keys = nil
			}
			return keys, next, err
		}
	}},
	{"forgets a cursor that was used", "Lister/cursor again", func(h *hooks) {
		var used shelf[bool]
		h.listGrants = func(ctx context.Context, cursor string, limit int) ([]string, string, error) {
			if known(&used, cursor) && cursor != "" {
				return nil, "", ctx.Err()
			}
			used.put(cursor, true)
			return h.Memory.ListGrants(ctx, cursor, limit)
		}
	}},
	{"goes on wherever it is told", "Lister/no cursor", func(h *hooks) {
		h.listGrants = func(ctx context.Context, cursor string, limit int) ([]string, string, error) {
			keys, err := h.all(ctx)
			i, _ := slices.BinarySearch(keys, cursor)
			keys = keys[i:]
			if len(keys) <= limit {
				return keys, "", err
			}
			return keys[:limit], keys[limit], err
		}
	}},
	{"takes any limit", "Lister/limit", func(h *hooks) {
		h.listGrants = func(ctx context.Context, cursor string, limit int) ([]string, string, error) {
			return h.Memory.ListGrants(ctx, cursor, max(limit, 1))
		}
	}},
	{"ignores the context for lists", "Lister/context", func(h *hooks) {
		h.listGrants = func(ctx context.Context, cursor string, limit int) ([]string, string, error) {
			return h.Memory.ListGrants(context.WithoutCancel(ctx), cursor, limit)
		}
	}},
}

// all returns the keys of all grants in their order.
func (h *hooks) all(ctx context.Context) (keys []string, err error) {
	for cursor := ""; ; {
		page, next, err := h.Memory.ListGrants(ctx, cursor, 1000)
		if err != nil {
			return nil, err
		}
		keys = append(keys, page...)
		if cursor = next; next == "" {
			slices.Sort(keys)
			return keys, nil
		}
	}
}

func known[V any](s *shelf[V], key string) bool { _, ok := s.get(key); return ok }

// revives makes delete forget, as every store does that merely upserts.
func revives(h *hooks) {
	h.delete = func(ctx context.Context, token string) error {
		return h.Memory.CommitCtx(ctx, token, nil, time.Now().Add(-time.Hour))
	}
}

// blind makes CommitGrant write whatever version is stored.
func blind(h *hooks, when func(old string) bool) {
	h.commitGrant = func(ctx context.Context, key, old string, r core.Record) error {
		if when(old) {
			stored, _, err := h.Memory.FindGrant(ctx, key)
			if err != nil {
				return err
			}
			old = stored.Version
		}
		return h.Memory.CommitGrant(ctx, key, old, r)
	}
}

func twoSteps(h *hooks) {
	h.commitGrant = func(ctx context.Context, key, old string, r core.Record) error {
		stored, _, err := h.Memory.FindGrant(ctx, key)
		if err != nil {
			return err
		}
		if stored.Version != old {
			return core.ErrConflict
		}
		time.Sleep(20 * time.Millisecond)
		for errors.Is(err, core.ErrConflict) || err == nil { // overwrite whatever is there by now
			stored, _, _ = h.Memory.FindGrant(ctx, key)
			if err = h.Memory.CommitGrant(ctx, key, stored.Version, r); err == nil {
				return nil
			}
		}
		return err
	}
}

// runMutant runs the suite on a broken store, in a process of its own.
func runMutant(t *testing.T, name string) {
	for _, m := range mutants {
		if m.name == name {
			broken := func() *hooks {
				h := &hooks{Memory: core.NewMemory()}
				m.breakIt(h)
				return h
			}
			storetest.RunSessions(t, func(t *testing.T) scs.CtxStore { return broken() })
			storetest.RunGrants(t, func(t *testing.T) core.GrantStore { return broken() })
			storetest.RunLister(t, func(t *testing.T) storetest.Lister { return broken() })
		}
	}
}

func TestSuiteCatchesBrokenStores(t *testing.T) {
	if name := os.Getenv("MXM_MUTANT"); name != "" {
		runMutant(t, name)
		return
	}
	type result struct {
		out string
		err error
	}
	results := make([]result, len(mutants))
	slots := make(chan struct{}, 16) // they mostly sleep, so more than there are processors
	var wg sync.WaitGroup
	for i, m := range mutants {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSuiteCatchesBrokenStores$", "-test.v", "-test.parallel=64", "-test.timeout=1m")
			cmd.Env = append(os.Environ(), "MXM_MUTANT="+m.name)
			out, err := cmd.CombinedOutput()
			results[i] = result{string(out), err}
		})
	}
	wg.Wait()

	cases := func(verdict, out string) (names []string) {
		for _, m := range regexp.MustCompile(`(?m)^ *--- `+verdict+`: TestSuiteCatchesBrokenStores/(\S+/\S+) `).FindAllStringSubmatch(out, -1) {
			names = append(names, m[1])
		}
		return names
	}
	caught := make(map[string]bool)
	for i, m := range mutants[1:] {
		t.Run(m.name, func(t *testing.T) {
			r := results[i+1]
			var exit *exec.ExitError
			require.ErrorAs(t, r.err, &exit, "the suite passed: %s", r.out)
			failed := cases("FAIL", r.out)
			require.Contains(t, failed, strings.ReplaceAll(m.caught, " ", "_"), "%s", r.out)
			require.Contains(t, r.out, "the store does not keep this promise: ")
			for _, name := range failed {
				caught[name] = true
			}
		})
	}
	require.NoError(t, results[0].err, "the store without a mistake fails: %s", results[0].out)
	all := cases("PASS", results[0].out)
	require.NotEmpty(t, all)
	for _, name := range all {
		require.True(t, caught[name], "no broken store fails %s: it may prove nothing", name)
	}
	t.Logf("%d cases, each failed by one of %d broken stores", len(all), len(mutants)-1)
}
