package core_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
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
