package grant

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
)

// A process that is suspended between its intent and its POST sends nothing: the
// lease of the intent has gone on without it. Its monotonic clock does not know.
func TestNothingIsSentAfterASuspension(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life)
		b.store.setFault(func(write func() error) error {
			if err := b.noted(write); b.ahead.Load() > 0 || err != nil {
				return err
			}
			b.ahead.Store(int64(time.Hour))
			return nil
		})
		require.Equal(t, "a2", b.token())
		require.EqualValues(t, 1, b.fake.shut.Load())
		require.Equal(t, []string{"r1"}, b.list(&b.posts))
		require.Equal(t, []string{"live 1", "live", "live 1", "live"}, b.list(&b.writes), "an attempt that sent nothing does not count")
	})
}

// After three attempts that demonstrably did not take place the doubt is over,
// and it begins anew after a pause.
func TestThreeAttemptsThatDidNotTakePlace(t *testing.T) {
	onBench(t, func(b *bench) {
		b.due()
		b.post = func(n int, rotate func() musixmatch.Answer) musixmatch.Answer {
			if n <= 3 {
				return lost
			}
			return rotate()
		}
		began := time.Now()
		require.Equal(t, "a2", b.token())
		require.Equal(t, []string{"r1", "r1", "r1", "r1"}, b.list(&b.posts))
		require.Equal(t, []string{"live 1", "live 2", "live 3", "live", "live 1", "live"}, b.list(&b.writes))
		require.InDelta(t, 6*15*time.Second, time.Since(began), float64(time.Second), "two probes of a1, 15 s apart, for each")
	})
}

// The holder of an intent replays a spent refresh token once, for the sake of a
// server with a grace period.
func TestHolderReplaysOnce(t *testing.T) {
	onBench(t, func(b *bench) {
		b.due()
		first := musixmatch.Answer{}
		b.post = func(n int, rotate func() musixmatch.Answer) musixmatch.Answer {
			if n == 1 {
				first = rotate()
				return lost
			}
			return first
		}
		require.Equal(t, "a2", b.token())
		require.Equal(t, []string{"r1", "r1"}, b.list(&b.posts))
	})
}

func TestHolderReplaysNoMoreThanOnce(t *testing.T) {
	onBench(t, func(b *bench) {
		b.due()
		b.post = func(n int, rotate func() musixmatch.Answer) musixmatch.Answer { rotate(); return lost }
		_, err := b.m.Token(b.ctx, user)
		require.Equal(t, Reconnect, outcomeOf(err))
		require.Equal(t, []string{"r1", "r1"}, b.list(&b.posts))
		b.requireLost(ReasonLostResponse)
	})
}

// Who takes over an intent never replays a token that was spent: its holder may
// have the answer. It says so before the old access token ends.
func TestTakerReplaysNothing(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life - 80*time.Second)
		b.foreign()
		b.rotate("r1")
		require.Equal(t, "a1", b.token(), "for as long as the holder may have the answer")
		time.Sleep(lease + 2*15*time.Second - time.Second)
		require.Equal(t, []string(nil), b.list(&b.writes))
		time.Sleep(2 * time.Second)
		b.requireLost(ReasonLostResponse)
		require.Empty(t, b.list(&b.posts))
	})
}

// A taker stays one through attempts of its own.
func TestTakerStaysOne(t *testing.T) {
	onBench(t, func(b *bench) {
		b.due()
		b.foreign()
		b.post = func(_ int, rotate func() musixmatch.Answer) musixmatch.Answer { rotate(); return lost }
		_, err := b.m.Token(b.ctx, user)
		require.Equal(t, Reconnect, outcomeOf(err))
		require.Equal(t, []string{"r1"}, b.list(&b.posts))
		require.Equal(t, []string{"live 2", "reconnect"}, b.list(&b.writes))
	})
}

// What the probes said while the holder was waited for counts when the access
// token has ended and says nothing any more.
func TestTakerRemembersThatATokenIsSpent(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life - 47*time.Second)
		b.foreign()
		b.rotate("r1")
		require.Equal(t, "a1", b.token())
		time.Sleep(50 * time.Second)
		b.requireLost(ReasonLostResponse)
		require.Empty(t, b.list(&b.posts))
	})
}

// One active ends a row of inactive: token-metadata is late at times.
func TestActiveForgetsInactive(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life - 47*time.Second)
		b.foreign()
		began := time.Now()
		b.look = func(access string, alive bool) (bool, error) {
			since := time.Since(began)
			return alive && (access != "a1" || since > 5*time.Second && since < 31*time.Second), nil
		}
		require.Equal(t, "a1", b.token())
		time.Sleep(50 * time.Second)
		require.Equal(t, "a2", b.token())
		require.Equal(t, []string{"r1"}, b.list(&b.posts))
		require.InDelta(t, 4*lease, time.Since(began), float64(time.Second), "in the dark a taker waits for four leases")
	})
}

// While our own POST is under way the old token is about to be killed, and nobody gets it.
func TestNobodyGetsATokenThatIsBeingKilled(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life - time.Minute)
		b.fake.connect = func(context.Context, string) error { time.Sleep(time.Second); return nil }
		b.during(func() { time.Sleep(3 * time.Second) })
		require.Equal(t, "a1", b.token(), "while there is no connection it lives")
		time.Sleep(2 * time.Second)
		require.Equal(t, "a2", b.token())
	})
}

// A token that the API has refused, and token-metadata has called inactive, is
// not handed out again, though there is no other.
func TestDeadTokenIsNotServed(t *testing.T) {
	onBench(t, func(b *bench) {
		b.rotate("r1")
		b.fake.connect = func(context.Context, string) error { return errors.New("refused") }
		_, err := b.m.Replace(context.Background(), user, "a1")
		require.Equal(t, Unavailable, outcomeOf(err))
		_, err = b.m.Token(context.Background(), user)
		require.Equal(t, Unavailable, outcomeOf(err))
		require.Nil(t, b.m.Cached(user))
	})
}

// A server that asks this client to wait is asked nothing meanwhile.
func TestServerIsGivenTheTimeItAsksFor(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life)
		b.post = func(n int, rotate func() musixmatch.Answer) musixmatch.Answer {
			if n == 1 {
				return musixmatch.Answer{Err: &musixmatch.CallError{Sent: true, Status: 429, RetryAfter: 2 * time.Minute}}
			}
			return rotate()
		}
		asked, began := len(b.list(&b.asked)), time.Now()
		done := make(chan string)
		go func() { done <- b.token() }()
		time.Sleep(2*time.Minute - time.Second)
		synctest.Wait()
		require.Len(t, b.list(&b.posts), 1)
		require.Len(t, b.list(&b.asked), asked)
		require.Equal(t, "a2", <-done)
		require.Less(t, time.Since(began), 4*time.Minute)
	})
}

// A 429 that does not say for how long is heeded, too.
func TestTooManyRequests(t *testing.T) {
	onBench(t, func(b *bench) {
		b.m.Heed(&musixmatch.CallError{Status: 503})
		require.Zero(t, b.m.Paused())
		b.m.Heed(&musixmatch.CallError{Status: 429})
		require.Equal(t, 5*time.Second, b.m.Paused())
		b.m.Heed(&musixmatch.CallError{Status: 429, RetryAfter: time.Minute})
		require.Equal(t, time.Minute, b.m.Paused())
	})
}
