package core_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/internal/testall"
)

// keepAliveUsers is how many users are kept alive for 90 days: MXM_KEEPALIVE_USERS,
// or 1,000 in CI, or 100.
func keepAliveUsers(t *testing.T) int {
	if s := os.Getenv("MXM_KEEPALIVE_USERS"); s != "" {
		n, err := strconv.Atoi(s)
		require.NoError(t, err)
		return n
	}
	if testall.Set() && !testall.Race {
		return 1000
	}
	return 100
}

// Refresh tokens die after 14 days unused, nobody uses any, and three instances
// come and go. After 90 days every user is connected.
func TestKeepAliveForNinetyDays(t *testing.T) {
	const perSecond, keepAlive = 5, 7 * day
	users := keepAliveUsers(t)
	seed := rand.Uint64()
	t.Logf("seed %d, %d users", seed, users)
	inBubble(t, func(t *testing.T, w *world) {
		w.srv.Configure(func(s *mxmtest.Settings) { s.RefreshLifetime = 14 * day })
		quiet := func(c *core.Config) { c.Logger, c.OnEvent = slog.New(slog.DiscardHandler), nil }
		first := w.start(quiet)
		name := func(n int) string { return fmt.Sprintf("mxm:3%020d", n) }
		for n := range users {
			_, err := first.Import(t.Context(), w.srv.Issue(name(n)).RefreshToken)
			require.NoError(t, err)
		}
		require.NoError(t, first.Close(t.Context()))
		w.srv.ResetRequests()

		ctx, cancel := context.WithCancel(t.Context())
		var sweeps, kills atomic.Int64
		var instances sync.WaitGroup
		var starting sync.Mutex
		for slot := range 3 {
			instances.Go(func() {
				dice := rand.New(rand.NewPCG(seed, uint64(slot)))
				for ctx.Err() == nil {
					starting.Lock() // a world is started one by one
					i := w.start(quiet)
					starting.Unlock()
					stop := w.maintain(i, core.Maintenance{
						Every: 6 * time.Hour, PerSecond: perSecond,
						OnSweep: func(context.Context, core.Sweep) { sweeps.Add(1) },
					})
					select {
					case <-time.After(time.Duration(dice.Int64N(int64(5 * day)))):
					case <-ctx.Done():
					}
					if dice.IntN(2) == 0 {
						i.store.kill()
						kills.Add(1)
						continue
					}
					stop()
					require.NoError(t, i.Close(context.Background()))
				}
			})
		}

		last := map[string]time.Time{}
		var calls []time.Time
		refreshes, busiest, over := 0, 0, 0
		for range 90 {
			time.Sleep(day)
			synctest.Wait()
			for _, r := range w.srv.Requests() {
				calls = append(calls, r.Time)
				if r.Endpoint != mxmtest.Token {
					continue
				}
				refreshes++
				require.False(t, r.Spent)
				if before, ok := last[r.UserID]; ok {
					require.GreaterOrEqual(t, r.Time.Sub(before), keepAlive*8/10)
				}
				last[r.UserID] = r.Time
			}
			w.srv.ResetRequests()
			slices.SortFunc(calls, time.Time.Compare)
			for i, j := 0, 0; i < len(calls); i++ {
				for calls[i].Sub(calls[j]) >= time.Second {
					j++
				}
				busiest = max(busiest, i-j+1)
				if i-j+1 > perSecond {
					over++
				}
			}
			calls = calls[:0]
		}
		cancel()
		instances.Wait()
		lost := 0
		for n := range users {
			if len(w.srv.Live(name(n))) == 0 {
				lost++
			}
		}
		t.Logf("%d refreshes, %d sweeps, %d instances of which %d were killed, %d lost; %d calls in the busiest second, %d beyond %d a second",
			refreshes, sweeps.Load(), len(w.started), kills.Load(), lost, busiest, over, perSecond)
		require.Zero(t, lost)
		require.LessOrEqual(t, busiest, 2*perSecond, "also while the holder of an expired claim wakes")
		require.LessOrEqual(t, refreshes, users*int(90*day/(keepAlive*8/10)+1))
		require.GreaterOrEqual(t, refreshes, users*11)
	})
}

// steps is an instance's way to the store that stops at its n-th call.
type steps struct {
	*core.Memory
	n    atomic.Int64
	stop int64
	do   func() // at that call; it may end the goroutine
}

func newSteps(m *core.Memory, stop int64, do func()) *steps {
	return &steps{Memory: m, stop: stop, do: do}
}

func (s *steps) step() {
	if s.n.Add(1) == s.stop {
		s.do()
	}
}

func (s *steps) FindGrant(ctx context.Context, key string) (core.Record, bool, error) {
	s.step()
	return s.Memory.FindGrant(ctx, key)
}

func (s *steps) CommitGrant(ctx context.Context, key, old string, r core.Record) error {
	s.step()
	err := s.Memory.CommitGrant(ctx, key, old, r)
	s.step()
	return err
}

// ListGrants returns one key at a time, alice's first, so that the n-th step is the
// same in every history.
func (s *steps) ListGrants(ctx context.Context, cursor string, _ int) ([]string, string, error) {
	s.step()
	keys := []string{aliceKey}
	for at, more := "", true; more; more = at != "" {
		page, next, err := s.Memory.ListGrants(ctx, at, 100)
		if err != nil {
			return nil, "", err
		}
		keys, at = append(keys, page...), next
	}
	slices.Sort(keys[1:])
	n, _ := strconv.Atoi(cursor)
	if n+1 >= len(keys) {
		return keys[n:], "", nil
	}
	return keys[n : n+1], strconv.Itoa(n + 1), nil
}

// The instance that sweeps is killed at every step that it takes: before and after
// each call of the store. Another goes on, and nothing is left undone.
func TestMaintainIsKilledAtEveryStep(t *testing.T) {
	steps, floor := 0, 0
	for n, more := int64(1), true; more; n++ {
		inBubble(t, func(t *testing.T, w *world) {
			var heard statuses
			i := w.start()
			w.signIn(i)
			const bob = "mxm:100000000000000000002"
			_, err := i.Import(t.Context(), w.srv.Issue(bob).RefreshToken)
			require.NoError(t, err)
			w.srv.Revoke(bob)
			time.Sleep(time.Minute)
			require.ErrorIs(t, i.Verify(t.Context(), bob), core.ErrReconnect)
			require.NoError(t, i.Close(t.Context()))
			time.Sleep(7 * day)

			change := func(c *core.Config) {
				c.Keys = [][]byte{keyLike(1), testKeys[0]}
				c.OnGrantStatus = heard.hear
			}
			victim, killed := w.start(change), make(chan struct{})
			st := newSteps(w.store, n, func() {
				close(killed)
				victim.store.kill()
				runtime.Goexit()
			})
			victim.store.GrantStore = st
			w.maintain(victim, core.Maintenance{})
			time.Sleep(10 * time.Second)
			select {
			case <-killed:
			default:
				more = false
				return
			}
			steps++
			var swept atomic.Int64
			heir := w.start(change)
			heir.store.GrantStore = newSteps(w.store, -1, nil) // with the victim's cursors
			stop := w.maintain(heir, core.Maintenance{OnSweep: func(_ context.Context, s core.Sweep) { swept.Add(1) }})
			time.Sleep(2*time.Hour + 10*time.Minute)
			stop()
			require.NotZero(t, swept.Load())
			require.Contains(t, heard.heard(), "reconnect revoked")
			info, err := heir.Grant(t.Context(), alice)
			require.NoError(t, err)
			if info.Status != core.GrantLive { // the answer reached a process that died before it could write
				floor++
				require.Equal(t, "lost_response", info.Reason)
				return
			}
			require.WithinDuration(t, time.Now(), info.RefreshedAt, 3*time.Hour)
		})
	}
	t.Logf("%d steps; at %d of them the process died with the new tokens", steps, floor)
	require.Greater(t, steps, 10)
	require.Equal(t, 1, floor, "after the answer and before its write; nobody can help there")
}

// A user's act wins over a sweep, at whichever step of the one the other happens. A
// request for a token that the sweep has forgotten a moment ago, or that it holds
// up, may fail: then it has changed nothing.
func TestUserWinsOverASweep(t *testing.T) {
	acts := map[string]struct {
		do    func(t *testing.T, w *world, i *instance) error
		live  bool
		lost  bool // it is an act of who has lost the grant
		alive bool // it is one of who has it
	}{
		"sign-in": {func(t *testing.T, w *world, i *instance) error {
			_, err := i.Import(t.Context(), w.srv.Issue(alice).RefreshToken)
			return err
		}, true, true, true},
		"disconnect": {func(t *testing.T, _ *world, i *instance) error { return i.Disconnect(t.Context(), alice) }, false, true, true},
		"rotation":   {func(t *testing.T, _ *world, i *instance) error { return i.tokenErr(t, 10*time.Second) }, true, false, true},
	}
	sweeps := map[string]struct {
		m    core.Maintenance
		lost bool
	}{
		"reseal":        {core.Maintenance{KeepAlive: -1}, false},
		"keep-alive":    {core.Maintenance{}, false},
		"forget unused": {core.Maintenance{KeepAlive: -1, ForgetUnused: day}, false},
		"reseal lost":   {core.Maintenance{}, true},
		"forget lost":   {core.Maintenance{ForgetLost: day}, true},
	}
	runs, won := 0, 0
	for actName, act := range acts {
		for sweepName, sweep := range sweeps {
			if sweep.lost && !act.lost || !sweep.lost && !act.alive {
				continue
			}
			for _, inner := range []string{"act", "sweep"} {
				t.Run(fmt.Sprintf("%s in %s, inside is the %s", actName, sweepName, inner), func(t *testing.T) {
					for n, more := int64(1), true; more; n++ {
						runs++
						inBubble(t, func(t *testing.T, w *world) {
							i := w.start()
							w.signIn(i)
							if sweep.lost {
								w.srv.Revoke(alice)
								time.Sleep(time.Minute)
								require.ErrorIs(t, i.Verify(t.Context(), alice), core.ErrReconnect)
							}
							time.Sleep(8 * day)
							keys := func(c *core.Config) { c.Keys = [][]byte{keyLike(1), testKeys[0]} }
							user, sweeper := w.start(keys), w.start(keys)
							met, failed, stops := make(chan struct{}), make(chan error, 1), make(chan func(), 1)
							doAct := func() { failed <- act.do(t, w, user) }
							doSweep := func() { stops <- w.maintain(sweeper, sweep.m); time.Sleep(time.Second) }
							if inner == "act" {
								sweeper.store.GrantStore = newSteps(w.store, n, func() { close(met); doAct() })
								doSweep()
							} else {
								user.store.GrantStore = newSteps(w.store, n, func() { close(met); doSweep() })
								doAct()
							}
							select {
							case <-met:
							default:
								more = false
								return // which ends what runs
							}
							time.Sleep(10 * lease)
							(<-stops)()
							if err := <-failed; err != nil {
								require.Equal(t, "rotation", actName, err)
								return
							}
							won++
							info, err := user.Grant(t.Context(), alice)
							require.NoError(t, err)
							require.Equal(t, act.live, info.Status == core.GrantLive, "%s at step %d", info.Status, n)
							if act.live {
								require.True(t, w.srv.IsLive(user.token(t)))
							} else {
								require.ErrorIs(t, user.tokenErr(t, time.Second), core.ErrReconnect)
							}
						})
					}
				})
			}
		}
	}
	t.Logf("%d runs, in %d of which both met and the act succeeded", runs, won)
}

// However often the application fails or crashes, it hears of every loss.
func TestOnGrantStatusHearsOfAThousandLosses(t *testing.T) {
	users := 100
	if testall.Set() && !testall.Race {
		users = 1000
	}
	inBubble(t, func(t *testing.T, w *world) {
		dice := rand.New(rand.NewPCG(1, 2))
		var mu sync.Mutex
		calls, heard := 0, map[string]int{}
		var victim *instance
		hear := func(_ context.Context, g core.GrantInfo) error {
			mu.Lock()
			defer mu.Unlock()
			calls++
			switch dice.IntN(5) {
			case 0:
				return errors.New("the application fails")
			case 1:
				panic("the application")
			}
			require.Equal(t, core.GrantReconnect, g.Status)
			heard[g.UserID]++
			if dice.IntN(users/4) == 0 {
				victim.store.kill() // before the acknowledgement
			}
			return nil
		}
		quiet := func(c *core.Config) { c.Logger, c.OnEvent, c.OnGrantStatus = slog.New(slog.DiscardHandler), nil, hear }
		victim = w.start(quiet)
		for n := range users {
			user := fmt.Sprintf("mxm:4%020d", n)
			_, err := victim.Import(t.Context(), w.srv.Issue(user).RefreshToken)
			require.NoError(t, err)
			w.srv.Revoke(user)
		}
		started := 0
		for range 40 {
			started++
			next := w.start(quiet)
			mu.Lock()
			victim = next
			mu.Unlock()
			w.maintain(next, core.Maintenance{KeepAlive: 2 * time.Hour, PerSecond: 50})
			time.Sleep(6 * time.Hour)
		}
		require.Len(t, heard, users)
		most := 0
		for _, n := range heard {
			most = max(most, n)
		}
		t.Logf("%d losses, %d calls of OnGrantStatus, at most %d for one loss that it took; %d instances", users, calls, most, started)
	})
}
