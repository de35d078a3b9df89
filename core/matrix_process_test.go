package core_test

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// What happens to callers and processes.
var processFaults = []fault{
	{"N goroutines × M instances at expiry", tests{
		"": func(t *testing.T, w *world) {
			all := []*instance{w.start(), w.start(), w.start()}
			w.signIn(all[0])
			untilDue()
			var wg sync.WaitGroup
			for range 50 {
				for _, i := range all {
					wg.Go(func() { i.token(t) })
				}
			}
			wg.Wait()
			w.unharmed(1, all...)
		},
	}},
	{"late arrival with an old view", tests{
		"": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			b.token(t)
			untilDue()
			// b has read the record and is about to write its intent when a refreshes.
			b.store.watch(func(c storeCall) error {
				if c.op == "commit" && c.n == 1 {
					a.token(t)
				}
				return c.do()
			})
			require.Equal(t, b.token(t), a.token(t))
			w.unharmed(1, a, b)
		},
	}},
	{"caller disconnects before, during, after the POST", tests{
		"before": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			untilDue()
			ctx, cancel := context.WithCancel(t.Context())
			a.store.watch(func(c storeCall) error { cancel(); time.Sleep(time.Second); return c.do() })
			_, err := a.TokenSource(ctx, alice).Token()
			require.ErrorIs(t, err, core.ErrUnavailable)
			a.store.watch(nil)
			time.Sleep(lease)
			w.unharmed(1, a)
		},
		"during": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.SlowResponse(5*time.Second))
			require.ErrorIs(t, a.leave(t, time.Second), core.ErrUnavailable)
			time.Sleep(lease)
			w.unharmed(1, a)
		},
		"after": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			untilDue()
			a.store.watch(func(c storeCall) error {
				if c.op == "commit" && c.n == 2 {
					time.Sleep(2 * time.Second)
				}
				return c.do()
			})
			require.ErrorIs(t, a.leave(t, 400*time.Millisecond), core.ErrUnavailable)
			time.Sleep(lease)
			w.unharmed(1, a)
		},
	}},
	{"instance stalls between intent and POST (GC, SIGSTOP)", tests{
		"": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			untilDue()
			a.store.watch(func(c storeCall) error {
				err := c.do()
				switch {
				case c.op == "commit" && c.n == 1:
					time.Sleep(3 * time.Second)
				case c.op == "commit" && c.n == 2: // the intent is cleared: nothing was sent
					require.Empty(t, w.refreshes())
				}
				return err
			})
			require.NotEmpty(t, a.token(t)) // the old one, while it lives
			time.Sleep(lease)
			a.token(t)
			w.unharmed(1, a)
			require.Equal(t, []string{"refresh_failed unavailable"}, a.kinds(core.EventRefreshFailed))
		},
		"while the intent is written": func(t *testing.T, w *world) { // V7
			a := w.start()
			w.signIn(a)
			untilDue()
			a.store.watch(func(c storeCall) error {
				err := c.do()
				if c.op == "commit" && c.n == 1 {
					time.Sleep(40 * time.Second) // it is applied, its answer comes late
				}
				if c.op == "commit" && c.n == 2 {
					require.Empty(t, w.refreshes())
				}
				return err
			})
			require.NotEmpty(t, a.token(t))
			time.Sleep(2 * lease)
			a.token(t)
			w.unharmed(1, a)
		},
	}},
	{"a connection that stands late", tests{
		"": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			first := a.token(t)
			untilDue()
			w.net.stall.Store(int64(8 * time.Second)) // a resolver that is dead, and one that is not
			began := time.Now()
			require.Equal(t, first, a.token(t), "the old one serves meanwhile")
			require.Less(t, time.Since(began), time.Second)
			time.Sleep(10 * time.Second)
			require.NotEqual(t, first, a.token(t))
			w.unharmed(1, a)
			require.Empty(t, a.kinds(core.EventRefreshFailed))
		},
	}},
	{"kill −9 before the intent; after the intent, before the send; after the send, before the server commits", tests{
		"before the intent": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			untilDue()
			a.store.watch(func(c storeCall) error {
				a.store.kill()
				return c.do()
			})
			go a.TokenSource(t.Context(), alice).Token()
			synctest.Wait()
			b.token(t)
			w.unharmed(1, b)
		},
		"after the intent, before the send": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			first := a.token(t)
			untilDue()
			w.killAfterIntent(a)
			require.Equal(t, first, b.token(t)) // at once, while the intent is left alone
			require.Empty(t, w.refreshes())
			time.Sleep(lease + 2*settle + time.Second)
			require.NotEqual(t, first, b.token(t))
			w.unharmed(1, b)
		},
		"after the intent, long ago": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			untilDue()
			w.killAfterIntent(a)
			time.Sleep(time.Hour) // the old token has expired: the oracle is blind
			require.ErrorIs(t, b.tokenErr(t, 0), core.ErrUnavailable)
			time.Sleep(4*lease - time.Second)
			require.Empty(t, w.refreshes())
			time.Sleep(2 * time.Second)
			b.token(t)
			w.unharmed(1, b)
		},
		"after the send, before the server commits": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			first := a.token(t)
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.Chain(func(*mxmtest.Exchange) { a.store.kill() }, mxmtest.DropRequest))
			go a.TokenSource(t.Context(), alice).Token()
			time.Sleep(time.Second)
			require.Equal(t, first, b.token(t))
			time.Sleep(lease + 2*settle + time.Second)
			require.NotEqual(t, first, b.token(t))
			w.unharmed(2, b)
		},
	}},
	{"kill −9 after the server commits, before our write", tests{
		"": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.AfterCommit(func(*mxmtest.Exchange) { a.store.kill() }))
			go a.TokenSource(t.Context(), alice).Token()
			time.Sleep(time.Second)
			b.TokenSource(t.Context(), alice).Token()
			time.Sleep(lease + 2*settle + time.Second)
			w.lost("lost_response", 1, b)
		},
		"seen only while the oracle was blind": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.AfterCommit(func(*mxmtest.Exchange) { a.store.kill() }))
			go a.TokenSource(t.Context(), alice).Token()
			time.Sleep(time.Hour)
			require.ErrorIs(t, b.tokenErr(t, 0), core.ErrUnavailable)
			time.Sleep(5 * lease)
			w.lost("lost_response", 2, b)
		},
		"the oracle was asked in time": func(t *testing.T, w *world) {
			// The lease ends when the old token has expired, but it was seen dead
			// twice before: no replay, and no wait of four leases.
			a, b := w.start(), w.start()
			w.signIn(a)
			time.Sleep(time.Hour - 40*time.Second)
			w.srv.Fail(mxmtest.Token, mxmtest.AfterCommit(func(*mxmtest.Exchange) { a.store.kill() }))
			go a.TokenSource(t.Context(), alice).Token()
			time.Sleep(time.Second)
			b.TokenSource(t.Context(), alice).Token()
			time.Sleep(lease + settle + time.Second)
			w.lost("lost_response", 1, b)
		},
	}},
}

// killAfterIntent lets i write an intent and die.
func (w *world) killAfterIntent(i *instance) {
	w.t.Helper()
	i.store.watch(func(c storeCall) error {
		err := c.do()
		if c.op == "commit" {
			i.store.kill()
			runtime.Goexit()
		}
		return err
	})
	go i.TokenSource(w.t.Context(), alice).Token()
	synctest.Wait()
	time.Sleep(time.Millisecond)
}
