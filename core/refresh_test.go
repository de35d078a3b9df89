package core_test

import (
	"testing"

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
