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

func TestEverySlotCounts(t *testing.T) {
	for most, sem := range map[int]func(m *Manager) semaphore{
		64:  func(m *Manager) semaphore { return m.refreshSem },
		256: func(m *Manager) semaphore { return m.postSem },
	} {
		onBench(t, func(b *bench) {
			for range most - 1 {
				sem(b.m) <- struct{}{}
			}
			time.Sleep(life - time.Minute)
			require.Equal(t, "a2", b.token(), "one is left")
			synctest.Wait()
			sem(b.m) <- struct{}{}
			time.Sleep(life - time.Minute)
			require.Equal(t, "a2", b.token())
			require.Equal(t, []string{"r1"}, b.list(&b.posts))
			sem(b.m).release()
			synctest.Wait()
			require.Equal(t, "a3", b.token())
		})
	}
	onBench(t, func(b *bench) {
		for range 64 {
			b.m.probeSem <- struct{}{}
		}
		asked := make(chan error)
		go func() {
			_, err := b.m.Replace(b.ctx, user, "a1")
			asked <- err
		}()
		require.Empty(t, b.list(&b.asked))
		b.m.probeSem.release()
		require.NoError(t, <-asked)
		require.Equal(t, []string{"a1"}, b.list(&b.asked))
	})
}

// One refresh that hangs gives its place to another after a second, and holds one
// of the many that may hang.
func TestHangingRefreshYields(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life)
		b.during(func() { time.Sleep(5 * time.Second) })
		go func() { _, _ = b.m.Token(b.ctx, user) }()
		time.Sleep(time.Second - time.Millisecond)
		synctest.Wait()
		require.Equal(t, []int{1, 1}, []int{len(b.m.refreshSem), len(b.m.postSem)})
		time.Sleep(time.Millisecond)
		synctest.Wait()
		require.Equal(t, []int{0, 1}, []int{len(b.m.refreshSem), len(b.m.postSem)})
		require.Equal(t, "a2", b.token())
		synctest.Wait()
		require.Equal(t, []int{0, 0}, []int{len(b.m.refreshSem), len(b.m.postSem)})
	})
}
