package core_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

var errStoreDown = errors.New("the store is down")

// What happens to the store.
var storeFaults = []fault{
	{"store down or read-only before the POST", tests{
		"down": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			first := a.token(t)
			untilDue()
			a.store.watch(func(storeCall) error { return errStoreDown })
			require.Equal(t, first, a.token(t))
			time.Sleep(5 * time.Minute) // now it has expired
			require.ErrorIs(t, a.tokenErr(t, 5*time.Second), core.ErrUnavailable)
			require.Empty(t, w.refreshes())
			a.store.watch(nil)
			time.Sleep(settle * 5 / 4)
			a.token(t)
			w.unharmed(1, a)
		},
		"read-only": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			first := a.token(t)
			untilDue()
			a.store.watch(func(c storeCall) error {
				if c.op == "commit" {
					return errStoreDown
				}
				return c.do()
			})
			require.Equal(t, first, a.token(t))
			time.Sleep(5 * time.Minute)
			require.ErrorIs(t, a.tokenErr(t, 5*time.Second), core.ErrUnavailable)
			require.Empty(t, w.refreshes())
			a.store.watch(nil)
			time.Sleep(settle * 5 / 4)
			a.token(t)
			w.unharmed(1, a)
		},
	}},
	{"store dies between POST and write", tests{
		"": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			first := a.token(t)
			untilDue()
			a.store.watch(func(c storeCall) error {
				if c.op == "find" || c.op == "commit" && c.n > 1 {
					if c.n > 1 {
						return errStoreDown
					}
				}
				return c.do()
			})
			second := a.token(t)
			require.NotEqual(t, first, second)
			time.Sleep(10 * time.Minute)
			require.Equal(t, second, a.token(t)) // from memory
			a.store.watch(nil)
			time.Sleep(2 * settle)
			w.unharmed(1, a)
			require.Equal(t, second, b.token(t))
		},
	}},
	{"write times out but was committed", tests{
		"the intent":     func(t *testing.T, w *world) { ambiguous(t, w, 1) },
		"the new tokens": func(t *testing.T, w *world) { ambiguous(t, w, 2) },
		"with nothing read back": func(t *testing.T, w *world) { // V13
			a := w.start()
			w.signIn(a)
			untilDue()
			a.store.watch(func(c storeCall) error {
				if c.op == "commit" && c.n == 1 {
					c.do()
					return errStoreDown
				}
				if c.op == "find" && c.n == 2 {
					return errStoreDown
				}
				return c.do()
			})
			a.token(t)
			time.Sleep(time.Second)
			a.token(t)
			w.unharmed(1, a)
		},
	}},
	{"lease expires under a slow holder", tests{
		"the oracle sees": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			untilDue()
			a.store.watch(func(c storeCall) error {
				if c.op == "commit" && c.n == 2 {
					time.Sleep(2 * lease) // cut off from the store, with the tokens
				}
				return c.do()
			})
			go a.TokenSource(t.Context(), alice).Token()
			time.Sleep(time.Second)
			b.TokenSource(t.Context(), alice).Token()
			time.Sleep(3 * lease)
			a.token(t)
			require.Equal(t, a.token(t), b.token(t))
			require.Len(t, w.refreshes(), 1)
			require.Equal(t, w.life().AccessToken, b.token(t))
			require.Equal(t, []string{"repaired mark_lifted"}, a.kinds(core.EventRepaired))
		},
	}},
	{"store loses a commit, login or tombstone", tests{
		"a commit": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			before := w.save()
			untilDue()
			second := a.token(t)
			time.Sleep(time.Second)
			w.rewind(before)
			time.Sleep(lease)
			require.Equal(t, second, a.token(t))
			require.Equal(t, second, b.token(t))
			require.Equal(t, []string{"repaired store_regressed"}, a.kinds(core.EventRepaired))
			time.Sleep(10 * time.Minute)
			w.unharmed(1, a, b)
		},
		"a login": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			before := w.save()
			b.token(t)
			time.Sleep(time.Minute)
			w.signIn(a)
			second := a.token(t)
			w.rewind(before)
			time.Sleep(lease)
			require.Equal(t, second, a.token(t))
			require.Equal(t, second, b.token(t))
			require.Equal(t, []string{"repaired store_regressed"}, a.kinds(core.EventRepaired))
		},
		"a tombstone": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			before := w.save()
			require.NoError(t, a.Disconnect(t.Context(), alice))
			w.rewind(before)
			require.ErrorIs(t, a.tokenErr(t, time.Second), core.ErrReconnect)
			require.ErrorIs(t, b.tokenErr(t, time.Second), core.ErrReconnect)
		},
		"a mark": func(t *testing.T, w *world) { // gen decides, before status
			a, b := w.start(), w.start()
			w.signIn(a)
			untilDue()
			var before core.Record
			a.store.watch(func(c storeCall) error {
				if c.op == "commit" && c.n == 2 {
					before = w.save()
				}
				return c.do()
			})
			second := a.token(t)
			w.rewind(before)
			b.TokenSource(t.Context(), alice).Token()
			time.Sleep(lease - time.Second)
			w.rewind(before)
			time.Sleep(2 * lease)
			require.Equal(t, second, a.token(t))
			require.Equal(t, second, b.token(t))
		},
	}},
	{"store loses an intent while its POST is in flight; a record vanishes; a first login is lost", tests{
		"an intent": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			before := w.save()
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.AfterCommit(func(*mxmtest.Exchange) {
				w.rewind(before)
				b.TokenSource(t.Context(), alice).Token()
			}))
			a.TokenSource(t.Context(), alice).Token()
			time.Sleep(10 * time.Minute)
			w.settled(a, b)
		},
		"a record": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			b.token(t)
			w.rewind(core.Record{})
			time.Sleep(lease)
			require.ErrorIs(t, a.tokenErr(t, time.Second), core.ErrReconnect)
			w.lost("store_lost_write", 0, a, b)
		},
		"a first login": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			w.rewind(core.Record{})
			time.Sleep(lease)
			require.ErrorIs(t, b.tokenErr(t, time.Second), core.ErrReconnect)
			require.ErrorIs(t, a.tokenErr(t, time.Second), core.ErrReconnect)
			w.lost("store_lost_write", 0, a, b)
		},
	}},
}

func ambiguous(t *testing.T, w *world, n int) {
	a := w.start()
	w.signIn(a)
	first := a.token(t)
	untilDue()
	a.store.watch(func(c storeCall) error {
		err := c.do()
		if c.op == "commit" && c.n == n {
			return errStoreDown
		}
		return err
	})
	require.NotEqual(t, first, a.token(t))
	w.unharmed(1, a)
}
