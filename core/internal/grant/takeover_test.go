package grant

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
)

// onImport runs a test with a store that holds no grant of the user.
func onImport(t *testing.T, test func(b *bench)) {
	t.Helper()
	onBench(t, func(b *bench) {
		clear(b.store.records)
		b.store.setFault(nil)
		b.m = b.instance()
		test(b)
	})
}

func (b *bench) requireImported() {
	b.t.Helper()
	sub, err := b.m.Import(b.ctx, "r1")
	require.NoError(b.t, err)
	require.Equal(b.t, user, sub)
	require.Equal(b.t, []string{"r1"}, b.list(&b.posts), "a token is presented once")
	gr := b.stored()
	require.Equal(b.t, "r2", gr.Refresh)
	require.Equal(b.t, statusLive, gr.Status)
	require.Empty(b.t, gr.MovedTo)
	require.Len(b.t, b.store.records, 2)
}

func TestImport(t *testing.T) {
	onImport(t, func(b *bench) {
		b.requireImported()
		require.Equal(t, "a2", b.token())
		again, err := b.instance().Import(b.ctx, "r1")
		require.NoError(t, err)
		require.Equal(t, user, again)
		require.Equal(t, []string{"r1"}, b.list(&b.posts))
		_, err = b.m.End(b.ctx, user)
		require.NoError(t, err)
		_, err = b.m.Import(b.ctx, "r1")
		require.Equal(t, Reconnect, outcomeOf(err))
		require.Equal(t, []string{"r2"}, b.list(&b.revoked))
		_, err = b.m.Import(b.ctx, "not a token")
		require.Equal(t, BadRequest, outcomeOf(err))
	})
}

// An import may end anywhere, and goes on on another instance.
func TestImportGoesOn(t *testing.T) {
	for cut := 1; cut <= 6; cut++ {
		onImport(t, func(b *bench) {
			writes := 0
			b.store.setFault(func(write func() error) error {
				if writes++; writes == cut {
					return errors.New("down")
				}
				return write()
			})
			_, err := b.m.Import(b.ctx, "r1")
			if writes > cut && err == nil { // that write is repeated by itself
				b.requireImported()
				return
			}
			require.Equal(t, Unavailable, outcomeOf(err))
			b.store.setFault(nil)
			b.m = b.instance()
			b.requireImported()
		})
	}
}

// Instances that import the same token at the same time agree.
func TestImportOnTwoInstances(t *testing.T) {
	onImport(t, func(b *bench) {
		b.post = func(_ int, rotate func() musixmatch.Answer) musixmatch.Answer {
			time.Sleep(time.Second)
			return rotate()
		}
		other, done := b.instance(), make(chan error)
		go func() {
			_, err := other.Import(b.ctx, "r1")
			done <- err
		}()
		b.requireImported()
		require.NoError(t, <-done)
		b.requireImported()
	})
}

func TestImportOfWhatTheServerRefuses(t *testing.T) {
	onImport(t, func(b *bench) {
		b.pair = 9
		for range 2 {
			_, err := b.m.Import(b.ctx, "r1")
			require.Equal(t, Reconnect, outcomeOf(err))
		}
		require.Len(t, b.list(&b.posts), 1)
	})
}

// An import that token-metadata does not answer waits as long as its caller.
func TestImportWaits(t *testing.T) {
	onImport(t, func(b *bench) {
		b.post = func(_ int, rotate func() musixmatch.Answer) musixmatch.Answer {
			time.Sleep(time.Minute / 3)
			return rotate()
		}
		began := time.Now()
		_, err := b.m.Import(context.Background(), "r1")
		require.Equal(t, Unavailable, outcomeOf(err))
		require.InDelta(t, Patience, time.Since(began), float64(time.Second))
		b.look = func(string, bool) (bool, error) { return false, errors.New("down") }
		time.Sleep(time.Minute)
		_, err = b.m.Import(b.ctx, "r1")
		require.Equal(t, Unavailable, outcomeOf(err))
		b.look = nil
		b.requireImported()
	})
}

// A user who signs in or disconnects while an import is on its way has the last word.
func TestImportBesideALogin(t *testing.T) {
	onImport(t, func(b *bench) {
		login := b.tokens()
		login.Access, login.Refresh = "x", "y"
		b.look = func(string, bool) (bool, error) { // asked whose the tokens are, when they are to be stored
			b.look = nil
			require.NoError(b.t, b.instance().Put(b.ctx, user, login))
			return false, errors.New("down")
		}
		_, err := b.m.Import(b.ctx, "r1")
		require.Equal(t, Unavailable, outcomeOf(err))
		sub, err := b.m.Import(b.ctx, "r1")
		require.NoError(t, err)
		require.Equal(t, user, sub)
		require.Equal(t, "r2", b.stored().Refresh, "the import is the later one")
	})
	onImport(t, func(b *bench) {
		writes := 0
		b.store.setFault(func(write func() error) error {
			if writes++; writes == 5 { // the tokens are to be stored at the user's key
				b.store.fault = nil
				_, err := b.instance().End(b.ctx, user)
				require.NoError(b.t, err)
			}
			return write()
		})
		_, _ = b.m.Import(b.ctx, "r1")
		require.Equal(t, []string{"r1"}, b.list(&b.posts))
	})
}
