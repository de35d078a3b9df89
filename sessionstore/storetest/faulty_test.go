package storetest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest"
	"github.com/stretchr/testify/require"
)

func TestFaultyPassesThrough(t *testing.T) {
	storetest.RunSessions(t, func(t *testing.T) scs.CtxStore { return storetest.NewFaulty(core.NewMemory()) })
	storetest.RunGrants(t, func(t *testing.T) core.GrantStore { return storetest.NewFaulty(core.NewMemory()) })
}

func TestFaulty(t *testing.T) {
	type call struct {
		op storetest.Op
		do func(ctx context.Context, s storetest.Store) error
	}
	end := time.Now().Add(time.Hour)
	calls := []call{
		{storetest.Find, func(ctx context.Context, s storetest.Store) error { _, _, err := s.FindCtx(ctx, "s"); return err }},
		{storetest.Commit, func(ctx context.Context, s storetest.Store) error { return s.CommitCtx(ctx, "s", []byte("new"), end) }},
		{storetest.Delete, func(ctx context.Context, s storetest.Store) error { return s.DeleteCtx(ctx, "s") }},
		{storetest.FindGrant, func(ctx context.Context, s storetest.Store) error { _, _, err := s.FindGrant(ctx, "g"); return err }},
		{storetest.CommitGrant, func(ctx context.Context, s storetest.Store) error {
			return s.CommitGrant(ctx, "g", "v1", core.Record{Data: []byte("new"), Version: "v2"})
		}},
		{storetest.DeleteGrant, func(ctx context.Context, s storetest.Store) error { return s.DeleteGrant(ctx, "g") }},
	}
	for _, tt := range []struct {
		name               string
		fault              storetest.Fault
		reads, writes, did bool // does a read fail, does a write, is a write done
	}{
		{"down", storetest.Down, true, true, false},
		{"read-only", storetest.ReadOnly, false, true, false},
		{"fail after", storetest.FailAfter, true, true, true},
		{"lose write", storetest.LoseWrite, false, false, false},
	} {
		for _, c := range calls {
			t.Run(tt.name+"/"+string(c.op), func(t *testing.T) {
				ctx, m := t.Context(), core.NewMemory()
				require.NoError(t, m.CommitCtx(ctx, "s", []byte("old"), end))
				require.NoError(t, m.CommitGrant(ctx, "g", "", core.Record{Data: []byte("old"), Version: "v1"}))
				changed := func() bool {
					b, _, err := m.FindCtx(ctx, "s")
					require.NoError(t, err)
					r, _, err := m.FindGrant(ctx, "g")
					require.NoError(t, err)
					return string(b) != "old" || string(r.Data) != "old"
				}
				f := storetest.NewFaulty(m)
				f.InjectNext(1, tt.fault, c.op)
				for _, other := range calls {
					if other.op != c.op && (other.op == storetest.Find || other.op == storetest.FindGrant) {
						require.NoError(t, other.do(ctx, f), "%s was not named", other.op)
					}
				}
				read := c.op == storetest.Find || c.op == storetest.FindGrant
				err := c.do(ctx, f)
				if read && tt.reads || !read && tt.writes {
					require.ErrorIs(t, err, storetest.ErrFault)
				} else {
					require.NoError(t, err)
				}
				require.Equal(t, !read && tt.did, changed())
				if tt.did {
					return
				}
				f.Heal()
				require.NoError(t, c.do(ctx, f))
				require.Equal(t, !read, changed())
				require.Equal(t, 2, f.Calls(c.op))
			})
		}
	}
}

func TestFaultyLoseWriteStillCompares(t *testing.T) {
	ctx, f := t.Context(), storetest.NewFaulty(core.NewMemory())
	f.Inject(storetest.LoseWrite)
	require.NoError(t, f.CommitGrant(ctx, "g", "", core.Record{Version: "v1"}))
	require.ErrorIs(t, f.CommitGrant(ctx, "g", "v1", core.Record{Version: "v2"}), core.ErrConflict)
}

func TestFaultyLastInjectedWins(t *testing.T) {
	ctx, f := t.Context(), storetest.NewFaulty(core.NewMemory())
	f.Inject(storetest.Down)
	f.InjectNext(2, storetest.LoseWrite, storetest.Commit)
	for range 2 {
		require.NoError(t, f.Commit("s", nil, time.Now().Add(time.Hour)))
	}
	require.ErrorIs(t, f.Commit("s", nil, time.Now().Add(time.Hour)), storetest.ErrFault)
	_, _, err := f.FindGrant(ctx, "g")
	require.ErrorIs(t, err, storetest.ErrFault)
}

func TestFaultyDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := storetest.NewFaulty(core.NewMemory())
		f.Delay(time.Minute)
		start := time.Now()
		_, _, err := f.FindCtx(t.Context(), "s")
		require.NoError(t, err)
		require.Equal(t, time.Minute, time.Since(start))

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, f.CommitGrant(ctx, "g", "", core.Record{Version: "v1"}), context.DeadlineExceeded)
		require.Equal(t, time.Minute+time.Second, time.Since(start))

		f.Delay(0)
		_, found, err := f.FindGrant(t.Context(), "g")
		require.NoError(t, err)
		require.False(t, found, "what timed out was not done")
		require.Equal(t, time.Minute+time.Second, time.Since(start))
	})
}
