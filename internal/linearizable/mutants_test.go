package linearizable

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
)

// requireMutantsConvicted breaks a store in two ways and wants both seen. Without
// faults: whoever does it wrong does it wrong on a good day.
func requireMutantsConvicted(t *testing.T, a, b core.GrantStore) {
	for name, mutants := range map[string][]core.GrantStore{
		"reads first and writes then":         {readThenWrite{a}, readThenWrite{b}},
		"expiry judged by the client's clock": {ownClock{a, 0}, ownClock{b, time.Second}},
	} {
		t.Run(name, func(t *testing.T) { record(t, mutants, func(*run) {}, withKeys(200)).requireIllegal() })
	}
}

// readThenWrite compares the version itself and writes whatever is there by then.
type readThenWrite struct{ core.GrantStore }

func (s readThenWrite) CommitGrant(ctx context.Context, key, old string, r core.Record) error {
	stored, _, err := s.FindGrant(ctx, key)
	if err != nil {
		return err
	}
	if stored.Version != old {
		return core.ErrConflict
	}
	time.Sleep(100 * time.Microsecond) // or memory is too fast for anybody to come in between
	for {
		err := s.GrantStore.CommitGrant(ctx, key, stored.Version, r)
		if !errors.Is(err, core.ErrConflict) {
			return err
		}
		if stored, _, err = s.FindGrant(ctx, key); err != nil {
			return err
		}
	}
}

// ownClock keeps the expiry as data, and compares it with a clock that may be wrong.
type ownClock struct {
	core.GrantStore
	ahead time.Duration
}

func (s ownClock) find(ctx context.Context, key string) (r core.Record, expired bool, err error) {
	r, found, err := s.GrantStore.FindGrant(ctx, key)
	if err != nil || !found {
		return core.Record{}, false, err
	}
	var expiry time.Time
	if err := expiry.UnmarshalBinary(r.Data); err != nil {
		return core.Record{}, false, err
	}
	return r, !expiry.IsZero() && time.Now().Add(s.ahead).After(expiry), nil
}

func (s ownClock) FindGrant(ctx context.Context, key string) (core.Record, bool, error) {
	r, expired, err := s.find(ctx, key)
	if err != nil || expired {
		return core.Record{}, false, err
	}
	return r, r.Version != "", nil
}

func (s ownClock) CommitGrant(ctx context.Context, key, old string, r core.Record) error {
	stored, expired, err := s.find(ctx, key)
	if err != nil {
		return err
	}
	if expired {
		if old != "" {
			return core.ErrConflict
		}
		old = stored.Version
	}
	r.Data, err = r.Expiry.MarshalBinary()
	if err != nil {
		return err
	}
	r.Expiry = time.Time{}
	return s.GrantStore.CommitGrant(ctx, key, old, r)
}
