package core_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

const day = 24 * time.Hour

// maintain runs Maintain on i until the function that it returns is called, or the
// test ends.
func (w *world) maintain(i *instance, m core.Maintenance) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- i.Maintain(ctx, m) }()
	return func() {
		cancel()
		require.NoError(w.t, <-ended)
	}
}

// sweepOnce returns what one sweep finds and does. No sweep of another instance is near.
func (w *world) sweepOnce(i *instance, m core.Maintenance) core.Sweep {
	w.t.Helper()
	var all []core.Sweep
	m.Every = day
	m.OnSweep = func(_ context.Context, s core.Sweep) { all = append(all, s) }
	time.Sleep(2 * day)
	stop := w.maintain(i, m)
	time.Sleep(day / 2)
	stop()
	require.Len(w.t, all, 1)
	return all[0]
}

func TestMaintainKeepsAliveWhatNobodyUses(t *testing.T) {
	for name, c := range map[string]struct {
		m    core.Maintenance
		want bool
	}{
		"by default": {core.Maintenance{}, true},
		"off":        {core.Maintenance{KeepAlive: -1}, false},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.srv.Configure(func(s *mxmtest.Settings) { s.RefreshLifetime = 14 * day })
				i := w.start()
				w.signIn(i)
				stop := w.maintain(i, c.m)
				time.Sleep(90 * day)
				stop()
				if !c.want {
					require.Empty(t, w.srv.Requests())
					require.Error(t, i.tokenErr(t, time.Minute))
					return
				}
				all := w.refreshes()
				for n := range all[1:] {
					apart := all[n+1].Time.Sub(all[n].Time)
					require.GreaterOrEqual(t, apart, 7*day*8/10)
					require.LessOrEqual(t, apart, 7*day+2*time.Hour)
				}
				require.Greater(t, len(all), 11)
				require.NoError(t, i.tokenErr(t, time.Minute))
			})
		})
	}
}

func TestMaintainRefusesWhatIsWrong(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		i := w.start()
		err := i.Maintain(t.Context(), core.Maintenance{
			Every: time.Millisecond, KeepAlive: time.Microsecond, ForgetLost: 91 * day, ForgetUnused: -1, PerSecond: -1,
		})
		for _, field := range []string{"Every", "KeepAlive", "ForgetLost", "ForgetUnused", "PerSecond"} {
			require.ErrorContains(t, err, field+" must")
		}
		i = w.start(func(c *core.Config) { c.Grants = struct{ core.GrantStore }{w.store} })
		require.ErrorIs(t, i.Maintain(t.Context(), core.Maintenance{}), core.ErrUnsupported)
		require.NoError(t, i.Close(t.Context()))
	})
}

// Close ends Maintain, which does not end by itself.
func TestMaintainEndsWithClose(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		i, ended := w.start(), make(chan error, 1)
		go func() { ended <- i.Maintain(t.Context(), core.Maintenance{}) }()
		time.Sleep(10 * day)
		require.Empty(t, ended)
		require.NoError(t, i.Close(t.Context()))
		require.NoError(t, <-ended)
	})
}

func keyLike(n byte) []byte {
	key := slices.Clone(testKeys[0])
	key[0] += n
	return key
}

// A key is retired without spending a token.
func TestMaintainSealsAnew(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		before := w.start()
		w.signIn(before)
		off := core.Maintenance{KeepAlive: -1}
		with := func(keys ...[]byte) *instance { return w.start(func(c *core.Config) { c.Keys = keys }) }
		both := with(keyLike(1), testKeys[0])
		s := w.sweepOnce(both, off)
		require.Equal(t, 1, s.Live)
		require.Equal(t, 2, s.Resealed, "the grant, and what is kept of its import")
		require.Len(t, s.OlderKeys, 1)
		s = w.sweepOnce(both, off)
		require.Empty(t, s.OlderKeys)
		require.Zero(t, s.Resealed)
		require.Empty(t, w.srv.Requests())

		s = w.sweepOnce(with(keyLike(2)), off)
		require.Equal(t, []int{0, 2}, []int{s.Live, s.Failures})
		require.Len(t, s.UnknownKeys, 1)
		require.True(t, w.srv.IsLive(with(keyLike(1)).token(t)))
	})
}

// What has just changed is left alone, and so is what a refresh has announced.
func TestMaintainSealsNothingAnewTooSoon(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		i := w.start()
		w.signIn(i)
		rec := w.save()
		both := w.start(func(c *core.Config) { c.Keys = [][]byte{keyLike(1), testKeys[0]} })
		stop := w.maintain(both, core.Maintenance{Every: 10 * time.Minute})
		time.Sleep(59 * time.Minute)
		require.Equal(t, rec, w.save())
		time.Sleep(15 * time.Minute)
		require.NotEqual(t, rec.Version, w.save().Version)
		stop()
	})
}

func TestMaintainForgets(t *testing.T) {
	status := func(t *testing.T, i *instance) core.GrantStatus {
		info, err := i.Grant(t.Context(), alice)
		require.NoError(t, err)
		return info.Status
	}
	t.Run("a lost grant", func(t *testing.T) {
		inBubble(t, func(t *testing.T, w *world) {
			i := w.start()
			w.signIn(i)
			w.srv.Revoke(alice)
			time.Sleep(time.Minute)
			require.ErrorIs(t, i.Verify(t.Context(), alice), core.ErrReconnect)
			stop := w.maintain(i, core.Maintenance{ForgetLost: 30 * day})
			time.Sleep(30*day - time.Minute)
			require.Equal(t, core.GrantReconnect, status(t, i))
			time.Sleep(2 * time.Hour)
			stop()
			require.Equal(t, core.GrantDisconnected, status(t, i))
			rec := w.save()
			require.WithinDuration(t, time.Now().Add(day), rec.Expiry, 2*time.Hour, "a tombstone stays for a day")
		})
	})
	t.Run("an unused grant, and revokes it", func(t *testing.T) {
		inBubble(t, func(t *testing.T, w *world) {
			w.srv.Configure(func(s *mxmtest.Settings) { s.Revocation = true })
			i := w.start(func(c *core.Config) { c.Endpoint.RevocationURL = c.BaseURL + "/oauth/revoke" })
			w.signIn(i)
			stop := w.maintain(i, core.Maintenance{ForgetUnused: 30 * day})
			time.Sleep(20 * day)
			i.token(t) // a use
			time.Sleep(29 * day)
			require.Equal(t, core.GrantLive, status(t, i))
			require.Greater(t, len(w.refreshes()), 5, "which is what KeepAlive does, and no use")
			time.Sleep(2 * day)
			stop()
			require.Equal(t, core.GrantDisconnected, status(t, i))
			require.Empty(t, w.srv.Live(alice))
		})
	})
}

// statuses is what an application has heard of OnGrantStatus.
type statuses struct {
	mu   sync.Mutex
	all  []string
	fail error // what OnGrantStatus returns
}

func (s *statuses) hear(_ context.Context, g core.GrantInfo) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, fmt.Sprint(g.Status, " ", g.Reason))
	if s.fail != nil && s.fail.Error() == "panic" {
		panic("the application")
	}
	return s.fail
}

func (s *statuses) heard() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

func (s *statuses) answer(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = err
}

func TestOnGrantStatus(t *testing.T) {
	lose := func(t *testing.T, w *world, i *instance) {
		w.srv.Revoke(alice)
		time.Sleep(time.Minute)
		require.ErrorIs(t, i.Verify(t.Context(), alice), core.ErrReconnect)
	}
	listen := func(s *statuses) func(*core.Config) { return func(c *core.Config) { c.OnGrantStatus = s.hear } }
	const lost, back = "reconnect revoked", "live "
	for name, test := range map[string]func(t *testing.T, w *world){
		"hears of a loss, and that it is over": func(t *testing.T, w *world) {
			var s statuses
			i := w.start(listen(&s))
			w.signIn(i)
			lose(t, w, i)
			time.Sleep(3*timeout - time.Second)
			require.Empty(t, s.heard(), "an answer may still end it")
			time.Sleep(2 * time.Second)
			require.Equal(t, []string{lost}, s.heard())
			stop := w.maintain(i, core.Maintenance{})
			time.Sleep(2 * day)
			require.Equal(t, []string{lost}, s.heard(), "acknowledged")
			w.signIn(i)
			time.Sleep(day)
			require.Equal(t, []string{lost, back}, s.heard())
			time.Sleep(20 * day)
			lose(t, w, i)
			time.Sleep(day)
			stop()
			require.Equal(t, []string{lost, back, lost}, s.heard(), "an old word silences no new loss")
		},
		"is called again after an error and a panic": func(t *testing.T, w *world) {
			var s statuses
			i := w.start(listen(&s))
			w.signIn(i)
			s.answer(errors.New("the mail server is down"))
			lose(t, w, i)
			stop := w.maintain(i, core.Maintenance{})
			defer stop()
			time.Sleep(90 * time.Minute)
			require.Len(t, s.heard(), 2)
			require.Contains(t, w.log.text(), "OnGrantStatus failed")
			s.answer(errors.New("panic"))
			time.Sleep(time.Hour)
			require.Len(t, s.heard(), 3)
			s.answer(nil)
			time.Sleep(day)
			require.Len(t, s.heard(), 4)
		},
		"hears of what another instance met": func(t *testing.T, w *world) {
			var s statuses
			i, listener := w.start(), w.start(listen(&s))
			w.signIn(i)
			lose(t, w, i)
			stop := w.maintain(listener, core.Maintenance{})
			defer stop()
			time.Sleep(2 * time.Hour)
			require.Equal(t, []string{lost}, s.heard())
			sweep := func() { time.Sleep(time.Hour) }
			w.signIn(i)
			sweep()
			sweep()
			require.Equal(t, []string{lost, back}, s.heard())
		},
		"hears the end of a loss that it may have missed": func(t *testing.T, w *world) {
			var s statuses
			i := w.start(listen(&s))
			w.signIn(i)
			lose(t, w, i)
			w.signIn(i)
			time.Sleep(time.Hour)
			require.Contains(t, []string{fmt.Sprint([]string{back}), fmt.Sprint([]string{back, back})}, fmt.Sprint(s.heard()))
		},
		"hears nothing of a disconnect": func(t *testing.T, w *world) {
			var s statuses
			i := w.start(listen(&s))
			w.signIn(i)
			require.NoError(t, i.Disconnect(t.Context(), alice))
			stop := w.maintain(i, core.Maintenance{})
			defer stop()
			time.Sleep(day)
			w.signIn(i)
			time.Sleep(day)
			require.Empty(t, s.heard())
		},
	} {
		t.Run(name, func(t *testing.T) { inBubble(t, test) })
	}
}

// A refresh whose answer was lost, and which nobody asks about, ends at the next sweep.
func TestMaintainEndsADoubt(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		i := w.start()
		w.signIn(i)
		time.Sleep(time.Hour)
		i.store.watch(func(c storeCall) error {
			if c.op == "commit" {
				_ = c.do() // the intent; then the process dies
				i.store.kill()
				runtime.Goexit()
			}
			return c.do()
		})
		require.Error(t, i.leave(t, time.Second))
		other := w.start()
		stop := w.maintain(other, core.Maintenance{})
		time.Sleep(8 * lease)
		stop()
		require.Len(t, w.refreshes(), 1)
		require.Equal(t, w.life().AccessToken, other.token(t))
		require.Len(t, w.refreshes(), 1, "the sweep has done it")
	})
}

func TestMaintainWaitsWhileMusixmatchAsksItTo(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		i := w.start()
		w.signIn(i)
		time.Sleep(7 * day)
		w.srv.Fail(mxmtest.Token, mxmtest.Status(429, "", 4*time.Minute), mxmtest.Grant("refresh_token"))
		stop := w.maintain(i, core.Maintenance{Every: time.Minute})
		time.Sleep(4 * time.Minute)
		require.Len(t, w.refreshes(), 1)
		time.Sleep(2 * time.Minute)
		stop()
		require.Len(t, w.refreshes(), 2)
	})
}

func TestMaintainSaysWhenItIsTooSlow(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		i := w.start()
		w.signIn(i)
		w.sweepOnce(i, core.Maintenance{})
		require.NotContains(t, w.log.text(), "too low")
		w.sweepOnce(i, core.Maintenance{PerSecond: 1e-6})
		require.Contains(t, w.log.text(), "too low")
		require.Contains(t, i.kinds(core.EventSweep), "sweep")
	})
}
