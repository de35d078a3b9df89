package core_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

func TestImport(t *testing.T) {
	patient := func(t *testing.T) context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		t.Cleanup(cancel)
		return ctx
	}
	tests := map[string]func(t *testing.T, w *world){
		"refreshes first, then stores a login": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			old := w.srv.Issue(alice)
			id, err := a.Import(t.Context(), old.RefreshToken)
			require.NoError(t, err)
			require.Equal(t, alice, id)
			require.Equal(t, w.life().AccessToken, a.token(t))
			require.Equal(t, a.token(t), b.token(t))
			require.False(t, w.srv.IsLive(old.AccessToken))
			require.Len(t, w.refreshes(), 1)
		},
		"again changes nothing": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			rt := w.srv.Issue(alice).RefreshToken
			for _, i := range []*instance{a, b, a} {
				id, err := i.Import(t.Context(), rt)
				require.NoError(t, err)
				require.Equal(t, alice, id)
				time.Sleep(time.Hour)
			}
			for _, r := range w.refreshes() {
				require.False(t, r.Spent)
			}
		},
		"by several at once": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			rt := w.srv.Issue(alice).RefreshToken
			var wg sync.WaitGroup
			for range 5 {
				for _, i := range []*instance{a, b} {
					wg.Go(func() {
						id, err := i.Import(t.Context(), rt)
						require.NoError(t, err)
						require.Equal(t, alice, id)
					})
				}
			}
			wg.Wait()
			w.unharmed(1, a, b)
		},
		"not ours": func(t *testing.T, w *world) {
			a := w.start()
			for _, rt := range []string{"", "with space", strings.Repeat("x", 1<<16)} {
				_, err := a.Import(t.Context(), rt)
				require.ErrorIs(t, err, core.ErrBadRequest)
			}
			_, err := a.Import(t.Context(), "rt.of.somebody.else")
			require.ErrorIs(t, err, core.ErrReconnect)
			_, err = a.Import(t.Context(), "rt.of.somebody.else")
			require.ErrorIs(t, err, core.ErrReconnect)
			require.Len(t, w.refreshes(), 1, "a refused token is not presented again")
		},
		"the answer is lost, the server did not commit": func(t *testing.T, w *world) {
			a := w.start()
			rt := w.srv.Issue(alice).RefreshToken
			w.srv.Fail(mxmtest.Token, mxmtest.DropRequest)
			_, err := a.Import(t.Context(), rt)
			require.ErrorIs(t, err, core.ErrUnavailable)
			id, err := a.Import(patient(t), rt)
			require.NoError(t, err)
			require.Equal(t, alice, id)
			w.unharmed(2, a)
		},
		"the answer is lost, the server committed": func(t *testing.T, w *world) {
			a := w.start()
			rt := w.srv.Issue(alice).RefreshToken
			w.srv.Fail(mxmtest.Token, mxmtest.DropResponse)
			_, err := a.Import(patient(t), rt)
			require.ErrorIs(t, err, core.ErrReconnect)
		},
		"killed with the answer in the store": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			rt := w.srv.Issue(alice).RefreshToken
			w.srv.Fail(mxmtest.Metadata, mxmtest.HTML(502), mxmtest.Times(3)) // whose it is, nobody can say
			_, err := a.Import(t.Context(), rt)
			require.ErrorIs(t, err, core.ErrUnavailable)
			require.NoError(t, a.Close(t.Context()))
			w.srv.ClearFaults()
			id, err := b.Import(t.Context(), rt)
			require.NoError(t, err)
			require.Equal(t, alice, id)
			w.unharmed(1, b)
		},
		"the store fails where the user's grant is written": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			rt := w.srv.Issue(alice).RefreshToken
			a.store.watch(func(storeCall) error { return errStoreDown })
			_, err := a.Import(t.Context(), rt)
			require.ErrorIs(t, err, core.ErrUnavailable)
			id, err := b.Import(t.Context(), rt)
			require.NoError(t, err)
			require.Equal(t, alice, id)
			w.unharmed(1, b)
		},
		"a login meanwhile stays": func(t *testing.T, w *world) {
			w.srv.Configure(func(s *mxmtest.Settings) { s.SingleLogin = true })
			a := w.start()
			rt := w.srv.Issue(alice).RefreshToken
			a.store.watch(func(storeCall) error { return errStoreDown })
			_, err := a.Import(t.Context(), rt)
			require.ErrorIs(t, err, core.ErrUnavailable)
			a.store.watch(nil)
			w.signIn(a) // ends the first import's tokens at the server
			kept := a.token(t)
			id, err := a.Import(t.Context(), rt)
			require.NoError(t, err)
			require.Equal(t, alice, id)
			require.Equal(t, kept, a.token(t))
			w.unharmed(0, a)
		},
		"a disconnect between its last look and its write": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			rt := w.srv.Issue(alice).RefreshToken
			b.store.watch(func(c storeCall) error {
				if c.op == "commit" && c.n == 1 {
					_, err := a.Import(t.Context(), rt)
					require.NoError(t, err)
					require.NoError(t, a.Disconnect(t.Context(), alice))
				}
				return c.do()
			})
			_, err := b.Import(t.Context(), rt)
			require.ErrorIs(t, err, core.ErrReconnect)
			require.ErrorIs(t, b.tokenErr(t, time.Second), core.ErrReconnect)
		},
		"a refresh between its last look and its write": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			rt := w.srv.Issue(alice).RefreshToken
			b.store.watch(func(c storeCall) error {
				if c.op == "commit" && c.n == 1 {
					_, err := a.Import(t.Context(), rt)
					require.NoError(t, err)
					w.srv.ExpireAccessTokens(alice)
					require.Equal(t, 200, w.status(a))
				}
				return c.do()
			})
			_, err := b.Import(t.Context(), rt)
			require.NoError(t, err)
			w.unharmed(2, a, b)
		},
		"after a disconnect": func(t *testing.T, w *world) {
			a := w.start()
			rt := w.srv.Issue(alice).RefreshToken
			_, err := a.Import(t.Context(), rt)
			require.NoError(t, err)
			require.NoError(t, a.Disconnect(t.Context(), alice))
			_, err = a.Import(t.Context(), rt)
			require.ErrorIs(t, err, core.ErrReconnect)
			require.ErrorIs(t, a.tokenErr(t, time.Second), core.ErrReconnect)
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { inBubble(t, test) })
	}
}
