package grant

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
	"github.com/stretchr/testify/require"
)

// When as many refreshes are under way as may be, a user whose turn has not
// come is served the token that still lives, nothing is announced meanwhile,
// and Close does not wait for a turn.
func TestRefreshesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		m, _ := newTestManager(t, &fakeServer{
			refresh: func(string) musixmatch.Answer {
				return musixmatch.Answer{Tokens: &musixmatch.Tokens{Access: "new", Refresh: "next", Issued: time.Now(), ExpiresIn: time.Hour}}
			},
			introspect: func(string) (musixmatch.Introspection, error) {
				return musixmatch.Introspection{Active: true, Sub: "mxm:1"}, nil
			},
		})
		signIn := func(user string) {
			require.NoError(t, m.Put(ctx, user, &musixmatch.Tokens{Access: "old", Refresh: "rt", Issued: time.Now(), ExpiresIn: time.Minute}))
		}
		for range maxRefreshes {
			m.refreshSem <- struct{}{}
		}
		signIn("mxm:1")
		time.Sleep(50 * time.Second)
		began := time.Now()
		token, err := m.Token(ctx, "mxm:1")
		require.NoError(t, err)
		require.Equal(t, "old", token.AccessToken)
		require.Zero(t, time.Since(began))
		gr, _, _, err := m.records.find(ctx, "mxm:1")
		require.NoError(t, err)
		require.Nil(t, gr.Intent, "an intent would grow old in the queue")

		m.refreshSem.release()
		synctest.Wait()
		token, err = m.Token(ctx, "mxm:1")
		require.NoError(t, err)
		require.Equal(t, "new", token.AccessToken)

		m.refreshSem <- struct{}{}
		signIn("mxm:2")
		time.Sleep(2 * time.Minute)
		waiting := make(chan error)
		go func() {
			_, err := m.Token(ctx, "mxm:2")
			waiting <- err
		}()
		synctest.Wait()
		require.NoError(t, m.Close(ctx))
		require.Equal(t, Unavailable, outcomeOf(<-waiting))
	})
}
