package core_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/sessionstore/pgxstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
)

// outside is a store that a bubble uses, and that is not in it: its connections
// and its clock are real. The bubble's clock stands while a call is under way.
type outside struct {
	store interface {
		core.GrantStore
		core.GrantLister
	}
	mu    sync.Mutex
	calls chan func()
	done  chan struct{}
}

// newPostgres starts a server. Call it outside the bubble.
func newPostgres(t *testing.T) *outside {
	pool, err := pgxpool.New(t.Context(), engines.StartPostgres(t).URL())
	require.NoError(t, err)
	store, err := pgxstore.New(t.Context(), pool)
	require.NoError(t, err)
	o := &outside{store: store, calls: make(chan func()), done: make(chan struct{})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for call := range o.calls {
			call()
			o.done <- struct{}{}
		}
	}()
	t.Cleanup(func() {
		close(o.calls)
		<-ended
		store.Close()
		pool.Close()
	})
	return o
}

// call does something outside. ahead is by how much the clock there is ahead.
func (o *outside) call(do func(ctx context.Context, ahead time.Duration)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	inside := time.Now()
	o.calls <- func() { do(context.Background(), time.Since(inside.Round(0))) }
	<-o.done
}

func shift(r core.Record, by time.Duration) core.Record {
	if !r.Expiry.IsZero() {
		r.Expiry = r.Expiry.Add(by)
	}
	return r
}

func (o *outside) FindGrant(_ context.Context, key string) (r core.Record, found bool, err error) {
	o.call(func(ctx context.Context, ahead time.Duration) {
		r, found, err = o.store.FindGrant(ctx, key)
		r = shift(r, -ahead)
	})
	return r, found, err
}

func (o *outside) CommitGrant(_ context.Context, key, old string, r core.Record) (err error) {
	o.call(func(ctx context.Context, ahead time.Duration) {
		err = o.store.CommitGrant(ctx, key, old, shift(r, ahead))
	})
	return err
}

func (o *outside) DeleteGrant(_ context.Context, key string) (err error) {
	o.call(func(ctx context.Context, _ time.Duration) { err = o.store.DeleteGrant(ctx, key) })
	return err
}

func (o *outside) ListGrants(_ context.Context, cursor string, limit int) (keys []string, next string, err error) {
	o.call(func(ctx context.Context, _ time.Duration) { keys, next, err = o.store.ListGrants(ctx, cursor, limit) })
	return keys, next, err
}

// The steps of docs/production.md, one after the other.
func TestRetireAKeyOnPostgres(t *testing.T) {
	postgres := newPostgres(t)
	inBubble(t, func(t *testing.T, w *world) {
		w.srv.Configure(func(s *mxmtest.Settings) { s.AccessLifetime = 30 * day }) // nothing has to be refreshed
		deploy := func(keys ...[]byte) *instance {
			return w.start(func(c *core.Config) { c.Grants, c.Keys = postgres, keys })
		}
		var users []string
		connect := func(i *instance) {
			for range 10 {
				user := fmt.Sprintf("mxm:2%020d", len(users))
				_, err := i.Import(t.Context(), w.srv.Issue(user).RefreshToken)
				require.NoError(t, err)
				users = append(users, user)
			}
			time.Sleep(time.Minute)
			w.srv.ResetRequests()
		}
		connected := func(i *instance) {
			t.Helper()
			for _, user := range users {
				token, err := i.TokenSource(t.Context(), user).Token()
				require.NoError(t, err)
				require.True(t, w.srv.IsLive(token.AccessToken))
			}
			for _, r := range w.srv.Requests() {
				require.NotEqual(t, mxmtest.Token, r.Endpoint)
			}
		}
		old, fresh := testKeys[0], keyLike(1)
		sweep := core.Maintenance{KeepAlive: 20 * day} // nobody is due

		connect(deploy(old))
		behind := deploy(old, fresh)
		connect(behind)
		front := deploy(fresh, old)
		connect(front)
		connected(behind) // the last of them still runs while the first in front begins
		connected(front)

		s := w.sweepOnce(front, sweep)
		require.Len(t, s.OlderKeys, 1)
		for _, n := range s.OlderKeys {
			require.Equal(t, 40, n, "of 20 users, the grant and what is kept of the import")
		}
		s = w.sweepOnce(front, sweep)
		require.Empty(t, s.OlderKeys)
		require.Empty(t, s.UnknownKeys)

		time.Sleep(7 * day)
		last := deploy(fresh)
		connected(last)
		s = w.sweepOnce(last, sweep)
		require.Empty(t, s.UnknownKeys)
		require.Equal(t, []int{30, 0}, []int{s.Live, s.Failures})
		connected(last)
	})
}
