package grant

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
)

// A token is served from memory for a lease, and refreshed before its end: not
// sooner than it has to be, and once for all callers.
func TestTokenOfOneHour(t *testing.T) {
	onBench(t, func(b *bench) {
		finds := len(b.list(&b.asked))
		for range 10 {
			require.Equal(t, "a1", b.token())
			require.Equal(t, "a1", b.m.Cached(user).AccessToken)
		}
		time.Sleep(lease - 1)
		require.NotNil(t, b.m.Cached(user))
		time.Sleep(time.Nanosecond)
		require.Nil(t, b.m.Cached(user), "somebody may have disconnected elsewhere")
		time.Sleep(life - 113*time.Second - lease)
		require.Equal(t, "a1", b.token())
		require.Empty(t, b.list(&b.posts))
		require.Len(t, b.list(&b.asked), finds)
		time.Sleep(23 * time.Second)
		callers := make(chan string)
		for range 20 {
			go func() { callers <- b.token() }()
		}
		for range 20 {
			require.Equal(t, "a2", <-callers)
		}
		require.Equal(t, []string{"r1"}, b.list(&b.posts))
		require.Equal(t, []string{"live 1", "live"}, b.list(&b.writes))
	})
}

// The wall clock may move on by itself: the machine was suspended.
func TestSuspensionEndsTheCache(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(time.Second)
		require.NotNil(t, b.m.Cached(user))
		b.ahead.Store(int64(lease))
		time.Sleep(wallEvery - 1)
		require.NotNil(t, b.m.Cached(user), "it is asked now and then")
		time.Sleep(time.Nanosecond)
		require.Nil(t, b.m.Cached(user))
	})
}

// Without an answer a clock of ours says that a token lives. It is believed for a
// second, since the server may say the time any moment.
func TestClockOfOursIsBelievedForAMoment(t *testing.T) {
	onBench(t, func(b *bench) {
		b.m = b.instance()
		b.fake.unheard.Store(true)
		b.fake.ahead.Store(-int64(2 * life))
		b.look = func(string, bool) (bool, error) { return false, errors.New("down") }
		time.Sleep(life)
		require.Equal(t, "a1", b.token())
		require.NotNil(t, b.m.Cached(user))
		b.fake.unheard.Store(false)
		b.fake.ahead.Store(0)
		time.Sleep(time.Second)
		require.Equal(t, "a2", b.token())
	})
}

// Tokens may live for less than scheduling bothers about: one that a sibling got,
// and that has ended since, is no good to who comes with a 401.
func TestReplaceByATokenThatLives(t *testing.T) {
	onBench(t, func(b *bench) {
		short := func(life time.Duration) {
			b.put(func(gr *grant) {
				gr.Generation, gr.Access, gr.Issued, gr.ExpiresIn = gr.Generation+1, fmt.Sprint("s", life), time.Now(), life
			})
		}
		short(5 * time.Second)
		time.Sleep(4 * time.Second)
		require.Equal(t, "s5s", b.replaced("a1"))
		time.Sleep(time.Second)
		require.Equal(t, "a2", b.replaced("a0"))
		short(0) // an answer that does not say
		b.m = b.instance()
		time.Sleep(5 * time.Second)
		require.Equal(t, "s0s", b.replaced("a1"))
		require.Equal(t, []string{"r1"}, b.list(&b.posts))
	})
}

// A rejected token that is active is no reason for a refresh; one that is dead is
// replaced, long before its end.
func TestReplace(t *testing.T) {
	onBench(t, func(b *bench) {
		token, err := b.m.Replace(b.ctx, user, "a1")
		require.NoError(t, err)
		require.Nil(t, token)
		require.Equal(t, "a1", b.replaced("a0"), "it was replaced long ago")
		b.look = func(string, bool) (bool, error) { return false, errors.New("down") }
		token, err = b.m.Replace(b.ctx, user, "a1")
		require.NoError(t, err)
		require.Nil(t, token, "nobody can say")
		require.Empty(t, b.list(&b.posts))
		b.look = func(access string, alive bool) (bool, error) { return alive && access != "a1", nil }
		require.Equal(t, "a2", b.replaced("a1"))
		require.Equal(t, "a2", b.replaced("a1"))
		require.Equal(t, []string{"r1"}, b.list(&b.posts))
	})
}

// A flight that was under way for another reason does not answer for a rejected
// token: one that does begins when it has landed.
func TestReplaceBesideAnotherFlight(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(lease)
		b.look = func(access string, alive bool) (bool, error) { return alive && access != "a1", nil }
		b.store.slow = slowStore / 2
		go func() { _, _ = b.m.Token(b.ctx, user) }()
		synctest.Wait()
		require.Equal(t, "a2", b.replaced("a1"))
	})
}

// Who waited for a flight about a 401 does not get the token of which it was said
// to be active, if the machine was suspended meanwhile.
func TestTokenThatExpiredWhileItWasAskedAbout(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life - 2*time.Minute)
		b.look = func(string, bool) (bool, error) {
			time.Sleep(time.Second)
			b.fake.ahead.Store(int64(3 * time.Minute))
			b.ahead.Store(int64(3 * time.Minute))
			return true, nil
		}
		b.store.slow = slowStore / 2
		go func() { _, _ = b.m.Replace(b.ctx, user, "a1") }()
		synctest.Wait()
		require.Equal(t, "a2", b.token())
	})
}

// A rejected token that is due is refreshed without a question.
func TestReplaceOfATokenThatIsDue(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life - time.Minute)
		var asked []string
		b.during(func() { asked = b.asked })
		require.Equal(t, "a2", b.replaced("a1"))
		require.Empty(t, asked)
	})
}

// token-metadata may learn late of a token that it has never called active. Each
// refresh for that reason doubles the age that is asked for.
func TestNewbornIsNotDead(t *testing.T) {
	onBench(t, func(b *bench) {
		b.m = b.instance() // which has not seen the login
		b.look = func(string, bool) (bool, error) { return false, nil }
		for pair, age := 1, b.m.confirmWait; pair < 6; pair++ {
			access := fmt.Sprint("a", pair)
			require.Equal(t, access, b.token())
			time.Sleep(age - time.Second)
			token, err := b.m.Replace(b.ctx, user, access)
			require.NoError(t, err)
			require.Nil(t, token, pair)
			time.Sleep(time.Second)
			require.Equal(t, fmt.Sprint("a", pair+1), b.replaced(access))
			synctest.Wait()
			age = min(2*age, 8*b.m.confirmWait)
		}
	})
}

// Unless another instance is refreshing it, which is found out though it began
// after the record was read.
func TestNewbornThatIsBeingRefreshed(t *testing.T) {
	onBench(t, func(b *bench) {
		b.m = b.instance()
		require.Equal(t, "a1", b.token())
		once := sync.OnceFunc(b.foreign)
		b.look = func(string, bool) (bool, error) { once(); return false, nil }
		time.AfterFunc(time.Second, b.others)
		require.Equal(t, "x", b.replaced("a1"))
	})
}

// A caller with a deadline waits for half of what it leaves, and then takes the
// token that lives; one whose token has ended waits for all of it.
func TestPatience(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life - 80*time.Second)
		b.during(func() { time.Sleep(25 * time.Second) })
		ctx, cancel := context.WithTimeout(b.ctx, 8*time.Second)
		defer cancel()
		began := time.Now()
		token, err := b.m.Token(ctx, user)
		require.NoError(t, err)
		require.Equal(t, "a1", token.AccessToken)
		require.Equal(t, 4*time.Second, time.Since(began))
		token, err = b.m.Token(context.Background(), user)
		require.NoError(t, err)
		require.Equal(t, "a1", token.AccessToken)
		require.Equal(t, 14*time.Second, time.Since(began))
	})
	onBench(t, func(b *bench) {
		time.Sleep(life)
		b.during(func() { time.Sleep(25 * time.Second) })
		ctx, cancel := context.WithTimeout(b.ctx, 8*time.Second)
		defer cancel()
		began := time.Now()
		_, err := b.m.Token(ctx, user)
		require.Equal(t, Unavailable, outcomeOf(err))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 8*time.Second, time.Since(began))
		_, err = b.m.Token(context.Background(), user)
		require.ErrorIs(t, err, errPatience)
		require.Equal(t, 18*time.Second, time.Since(began))
		require.Equal(t, "a2", b.token())
		require.Equal(t, []string{"r1"}, b.list(&b.posts))
	})
}

// A connection that takes its time, or does not come, keeps nobody waiting whose
// token lives, and nothing is announced for it.
func TestConnectionThatDoesNotCome(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life - 80*time.Second)
		dials := 0
		b.fake.connect = func(ctx context.Context, _ string) error {
			dials++
			select {
			case <-time.After(20 * time.Second):
				return errors.New("no route")
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		began := time.Now()
		require.Equal(t, "a1", b.token())
		require.LessOrEqual(t, time.Since(began), nearby)
		time.Sleep(10 * time.Second)
		require.Equal(t, "a1", b.token())
		synctest.Wait()
		require.Equal(t, 1, dials)
		require.Empty(t, b.list(&b.writes))
		time.Sleep(80 * time.Second)
		_, err := b.m.Token(context.Background(), user)
		require.Equal(t, Unavailable, outcomeOf(err))
		synctest.Wait()
		b.fake.connect = nil
		time.Sleep(20 * time.Second)
		require.Equal(t, "a2", b.token())
		synctest.Wait()
		require.Contains(t, b.list(&b.events), "failed unavailable")
	})
}

// A store that fails keeps nobody from a token that lives, and is asked ever more
// rarely.
func TestStoreThatFails(t *testing.T) {
	onBench(t, func(b *bench) {
		down := true
		b.store.setFault(func(write func() error) error {
			if down {
				return errors.New("down")
			}
			return write()
		})
		time.Sleep(life - 80*time.Second)
		for range 79 {
			require.Equal(t, "a1", b.token())
			time.Sleep(time.Second)
		}
		require.Empty(t, b.list(&b.posts), "nothing is spent that cannot be stored")
		synctest.Wait()
		require.Less(t, len(b.list(&b.events)), 20)
		time.Sleep(2 * time.Second)
		_, err := b.m.Token(context.Background(), user)
		require.Equal(t, Unavailable, outcomeOf(err))
		down = false
		require.Equal(t, "a2", b.token())
	})
}

// An answer that comes after RefreshTimeout is taken while token-metadata says
// that there is one.
func TestLateAnswer(t *testing.T) {
	onBench(t, func(b *bench) {
		b.due()
		b.post = func(_ int, rotate func() musixmatch.Answer) musixmatch.Answer {
			a := rotate()
			time.Sleep(80 * time.Second)
			return a
		}
		require.Equal(t, "a2", b.token())
		require.Equal(t, []string{"r1"}, b.list(&b.posts))
		require.Equal(t, "live 1", b.list(&b.writes)[0])
		require.Equal(t, "live 1", b.list(&b.writes)[1], "the intent is renewed, so that nobody takes over")
	})
	onBench(t, func(b *bench) { // also when somebody has given the grant up meanwhile
		b.due()
		b.post = func(_ int, rotate func() musixmatch.Answer) musixmatch.Answer {
			a := rotate()
			time.Sleep(50 * time.Second)
			b.put(func(gr *grant) { gr.Status, gr.Reason, gr.Intent = statusReconnect, ReasonLostResponse, nil })
			time.Sleep(30 * time.Second)
			return a
		}
		require.Equal(t, "a2", b.token())
		require.Equal(t, []string{"r1"}, b.list(&b.posts))
		require.Equal(t, statusLive, b.stored().Status)
	})
	onBench(t, func(b *bench) { // but not for ever
		b.due()
		began, gaveUp := time.Now(), time.Duration(0)
		b.post = func(n int, rotate func() musixmatch.Answer) musixmatch.Answer {
			if rotate(); n == 1 {
				time.Sleep(10 * time.Minute)
			} else {
				gaveUp = time.Since(began)
			}
			return lost
		}
		_, err := b.m.Token(b.ctx, user)
		require.Equal(t, Reconnect, outcomeOf(err))
		require.Greater(t, gaveUp, 90*time.Second)
		require.Less(t, gaveUp, 3*time.Minute)
		time.Sleep(10 * time.Minute)
	})
	onBench(t, func(b *bench) { // and not if there is none
		b.due()
		b.post = func(n int, rotate func() musixmatch.Answer) musixmatch.Answer {
			if n == 1 {
				time.Sleep(10 * time.Minute)
				return lost
			}
			return rotate()
		}
		began := time.Now()
		require.Equal(t, "a2", b.token())
		require.Less(t, time.Since(began), 90*time.Second)
		require.Equal(t, []string{"r1", "r1"}, b.list(&b.posts))
		time.Sleep(10 * time.Minute)
	})
}

// A grant without a refresh token lives as long as its access token, by two looks
// or by the server's clock.
func TestUnrenewable(t *testing.T) {
	onBench(t, func(b *bench) {
		b.put(func(gr *grant) { gr.Refresh = "" })
		time.Sleep(life - time.Second)
		require.Equal(t, "a1", b.token())
		time.Sleep(time.Second)
		began := time.Now()
		b.look = func(string, bool) (bool, error) { return true, nil }
		require.Equal(t, "a1", b.token(), "the server is generous")
		time.Sleep(lease)
		b.look = func(string, bool) (bool, error) { return false, nil }
		b.requireLost(ReasonNoRefreshToken)
		require.Equal(t, lease, time.Since(began), "its end has come")
		require.Empty(t, b.list(&b.posts))
	})
	onBench(t, func(b *bench) {
		b.put(func(gr *grant) { gr.Refresh = "" })
		time.Sleep(lease)
		token, err := b.m.Replace(b.ctx, user, "a1")
		require.NoError(t, err)
		require.Nil(t, token)
		b.look = func(string, bool) (bool, error) { return false, nil }
		began := time.Now()
		_, err = b.m.Replace(b.ctx, user, "a1")
		require.Equal(t, Reconnect, outcomeOf(err))
		require.Equal(t, b.m.confirmWait, time.Since(began), "two looks")
		b.requireLost(ReasonNoRefreshToken)
	})
}

// A flight that only waits ends three leases after its last caller.
func TestNobodyIsWaitedForForEver(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life)
		b.post = func(int, func() musixmatch.Answer) musixmatch.Answer { return lost }
		_, err := b.m.Token(context.Background(), user)
		require.Equal(t, Unavailable, outcomeOf(err))
		time.Sleep(3*lease + time.Minute)
		synctest.Wait()
		posts := len(b.list(&b.posts))
		require.Greater(t, posts, 1)
		require.Less(t, posts, 5)
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		require.Len(t, b.list(&b.posts), posts)
	})
}

// In the dark a refresh is tried again ever more rarely.
func TestInTheDark(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life)
		var at []time.Duration
		began := time.Now()
		b.post = func(int, func() musixmatch.Answer) musixmatch.Answer {
			at = append(at, time.Since(began).Round(time.Second))
			return lost
		}
		ctx, cancel := context.WithTimeout(context.Background(), 12*time.Hour)
		defer cancel()
		_, err := b.m.Token(ctx, user)
		require.Equal(t, Unavailable, outcomeOf(err))
		require.Greater(t, len(at), 8)
		for i := 1; i < len(at); i++ {
			pause := at[i] - at[i-1]
			require.InDelta(t, min(lease<<(i-1), longestPause), pause, float64(30*time.Second), i)
		}
	})
}

// An attempt that comes to nothing because the store cannot be written makes no
// pause longer.
func TestInTheDarkWithAStoreThatFails(t *testing.T) {
	onBench(t, func(b *bench) {
		time.Sleep(life)
		b.post = func(n int, rotate func() musixmatch.Answer) musixmatch.Answer {
			if n == 1 {
				b.store.setFault(func(func() error) error { return errors.New("down") })
				return lost
			}
			return rotate()
		}
		got := make(chan string)
		go func() { got <- b.token() }()
		time.Sleep(20 * time.Minute)
		b.store.setFault(nil)
		began := time.Now()
		require.Equal(t, "a2", <-got)
		require.Less(t, time.Since(began), 2*lease)
	})
}

// Reports come in order, whatever their taker does.
func TestReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &reports{}
		var got []int
		began := time.Now()
		q.add(func() { time.Sleep(time.Minute); got = append(got, 1) }, false)
		require.Equal(t, nearby, time.Since(began))
		q.add(func() { got = append(got, 2); panic("a defect of the application") }, false)
		q.add(func() { runtime.Goexit() }, false)
		q.add(func() { got = append(got, 3) }, false)
		began = time.Now()
		q.flush(t.Context())
		require.Equal(t, time.Second, time.Since(began), "for a taker that hangs no longer")
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, []int{1, 2, 3}, got)
		q.add(func() { time.Sleep(nearby * 2); got = append(got, 4) }, false)
		q.flush(t.Context())
		require.Equal(t, []int{1, 2, 3, 4}, got)

		hang := make(chan struct{})
		q.add(func() { <-hang }, false)
		for range maxReports + 5 {
			q.add(func() { got = append(got, 5) }, false)
		}
		require.Len(t, q.waiting, maxReports)
		q.add(func() { got = append(got, 6) }, true)
		require.Len(t, q.waiting, maxReports+1)
		close(hang)
		synctest.Wait()
		require.Equal(t, 6, got[len(got)-1])
		require.Len(t, got, 4+maxReports+1)
	})
}
