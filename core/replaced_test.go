package core_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// Where a refresh kills all access tokens of the user, the refresh of a grant
// that a login has replaced kills those of the login. To a process that takes
// over a refresh of the login's grant that never began they look as if it had
// taken place.
func TestLateRefreshOfAReplacedGrant(t *testing.T) {
	t.Run("under way at the login", func(t *testing.T) {
		inBubble(t, func(t *testing.T, w *world) {
			w.srv.Configure(func(s *mxmtest.Settings) { s.Kill = mxmtest.PerUser })
			a, b, c := w.start(), w.start(), w.start()
			w.signIn(a)
			untilDue()
			arrive := make(chan struct{})
			w.srv.Fail(mxmtest.Token, mxmtest.Hold(arrive))
			go a.TokenSource(t.Context(), alice).Token()
			time.Sleep(time.Second)
			w.signIn(b)
			served := b.token(t)
			close(arrive)
			time.Sleep(time.Second)
			require.False(t, w.srv.IsLive(served), "the late refresh killed it")

			untilDue()
			w.killAfterIntent(b)
			c.TokenSource(t.Context(), alice).Token()
			time.Sleep(6 * lease)
			require.True(t, w.srv.IsLive(c.token(t)))
			require.Empty(t, c.kinds("reconnect"))
		})
	})
	t.Run("in a store that lost the login", func(t *testing.T) {
		inBubble(t, func(t *testing.T, w *world) {
			w.srv.Configure(func(s *mxmtest.Settings) { s.Kill = mxmtest.PerUser })
			a, b := w.start(), w.start()
			w.signIn(a)
			replaced := w.save()
			time.Sleep(time.Minute)
			w.signIn(b)
			served := b.token(t)
			w.rewind(replaced)
			untilDue()
			a.token(t)
			require.False(t, w.srv.IsLive(served), "the refresh of the replaced grant killed it")
			b.TokenSource(t.Context(), alice).Token()
			time.Sleep(6 * lease)
			require.True(t, w.srv.IsLive(b.token(t)))
			require.Empty(t, b.kinds("reconnect"))
		})
	})
}
