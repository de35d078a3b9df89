package core_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

func TestRefreshWhenDue(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.start()
		w.signIn(a)
		first := a.token(t)
		require.Equal(t, w.life().AccessToken, first)
		require.Empty(t, w.refreshes())
		untilDue()
		second := a.token(t)
		require.NotEqual(t, first, second)
		require.Equal(t, w.life().AccessToken, second)
		require.Len(t, w.refreshes(), 1)
		require.Equal(t, second, a.token(t))
		require.Len(t, w.refreshes(), 1)
		require.Eventually(t, func() bool { return len(a.kinds(core.EventRefresh)) == 1 }, settle, settle/15)
		require.Empty(t, a.kinds(core.EventRefreshFailed, core.EventReconnect, core.EventRepaired))
	})
}

// P6: an OnEvent that hangs, on the very outage that it is told of, does not
// stand between an answer and the store.
func TestHangingOnEventDelaysNoWrite(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		outageEnds := make(chan struct{})
		a := w.start(func(c *core.Config) {
			c.OnEvent = func(_ context.Context, e core.Event) {
				if e.Kind == core.EventRefreshFailed {
					<-outageEnds
				}
			}
		})
		defer close(outageEnds)
		w.signIn(a)
		untilDue()
		a.store.watch(func(c storeCall) error {
			if c.op == "commit" && c.n == 2 {
				return errors.New("the store is down")
			}
			return c.do()
		})
		token := a.token(t)
		time.Sleep(settle)
		require.Equal(t, token, w.start().token(t), "another process finds it in the store")
		require.Equal(t, token, w.life().AccessToken)
	})
}

// Failures that are long over do not make the next one take longer.
func TestBackoffBeginsAnew(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.start()
		w.signIn(a)
		blip := func() {
			a.store.watch(func(c storeCall) error {
				if c.op == "find" && c.n == 1 {
					return errStoreDown
				}
				return c.do()
			})
		}
		for range 20 {
			time.Sleep(lease + time.Second)
			blip()
			a.token(t)
			time.Sleep(lease + time.Second)
			a.token(t)
		}
		time.Sleep(time.Hour)
		blip()
		asked := time.Now()
		a.token(t)
		require.Less(t, time.Since(asked), time.Second)
	})
}

// A terminal loss is reported once, also when the store wrote the mark, said
// that it did not, and could not be read for a while.
func TestMarkWithoutAnAnswer(t *testing.T) {
	for reason, mark := range map[string]int{"revoked": 2, "sub_changed": 3} {
		t.Run(reason, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				a := w.start()
				w.signIn(a)
				untilDue()
				if mark == 2 {
					w.srv.Revoke(alice)
				} else {
					w.srv.Fail(mxmtest.Metadata, mxmtest.SetField("sub", `"mxm:200000000000000000002"`))
				}
				unreadable := 0
				a.store.watch(func(c storeCall) error {
					switch {
					case c.op == "commit" && c.n == mark:
						unreadable = 2
						require.NoError(t, c.do())
						return errStoreDown
					case c.op == "find" && unreadable > 0:
						unreadable--
						return errStoreDown
					}
					return c.do()
				})
				a.tokenErr(t, time.Minute)
				time.Sleep(time.Minute)
				w.lost(reason, 1, a)
			})
		})
	}
}
