package core_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
)

// nthFails is a store of which one call fails: before it is carried out, or
// after it.
type nthFails struct {
	core.GrantStore
	n     atomic.Int64
	fail  int64
	after bool
}

func (s *nthFails) call(do func() error) error {
	if s.n.Add(1) != s.fail {
		return do()
	}
	if s.after {
		_ = do()
	}
	return errStoreDown
}

func (s *nthFails) FindGrant(ctx context.Context, key string) (r core.Record, found bool, err error) {
	err = s.call(func() error {
		r, found, err = s.GrantStore.FindGrant(ctx, key)
		return err
	})
	if err != nil {
		return core.Record{}, false, err
	}
	return r, found, nil
}

func (s *nthFails) CommitGrant(ctx context.Context, key, old string, r core.Record) error {
	return s.call(func() error { return s.GrantStore.CommitGrant(ctx, key, old, r) })
}

// Whichever call of the store fails during an import, the token is spent once,
// and a second import with it ends where the first would have.
func TestImportAfterAnyStoreFailure(t *testing.T) {
	for _, after := range []bool{false, true} {
		interrupted := 0
		for fail, calls := int64(1), int64(1); fail <= calls; fail++ {
			t.Run(fmt.Sprintf("call %d, after it: %t", fail, after), func(t *testing.T) {
				inBubble(t, func(t *testing.T, w *world) {
					store := &nthFails{GrantStore: w.store, fail: fail, after: after}
					a := w.start(func(c *core.Config) { c.Grants = store })
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					rt := w.srv.Issue(alice).RefreshToken
					id, err := a.Import(ctx, rt)
					if err != nil {
						require.ErrorIs(t, err, core.ErrUnavailable)
						interrupted++
						id, err = a.Import(ctx, rt)
					}
					require.NoError(t, err)
					require.Equal(t, alice, id)
					calls = max(calls, store.n.Load())
					require.Len(t, w.refreshes(), 1)
					require.Equal(t, w.life().AccessToken, a.token(t))
				})
			})
		}
		require.Positive(t, interrupted)
	}
}

// What was imported and has ended since does not come back, and what no key
// opens is not taken for gone.
func TestImportOfWhatHasEnded(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.start()
		rt := w.srv.Issue(alice).RefreshToken
		_, err := a.Import(t.Context(), rt)
		require.NoError(t, err)
		other := w.start(func(c *core.Config) { c.Keys = [][]byte{otherKey()} })
		_, err = other.Import(t.Context(), rt)
		require.ErrorIs(t, err, core.ErrUnavailable)
		require.NoError(t, a.Disconnect(t.Context(), alice))
		_, err = a.Import(t.Context(), rt)
		require.ErrorIs(t, err, core.ErrReconnect)
		_, err = a.Import(t.Context(), strings.Repeat("x", 9<<10))
		require.ErrorIs(t, err, core.ErrBadRequest)
		require.Len(t, w.refreshes(), 1)
	})
}
