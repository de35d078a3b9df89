package core_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// late signs alice in and begins a refresh whose answer comes so late.
func (w *world) late(a *instance, answer time.Duration) (began time.Time) {
	w.signIn(a)
	a.token(w.t)
	untilDue()
	w.srv.Fail(mxmtest.Token, mxmtest.SlowResponse(answer), mxmtest.Grant("refresh_token"))
	began = time.Now()
	go a.leave(w.t, time.Second)
	return began
}

// hangs makes the instance's store hang for a minute, from the second write.
func (i *instance) hangs() {
	end := time.Now().Add(time.Minute)
	var hangs atomic.Bool
	i.store.watch(func(c storeCall) error {
		if c.op == "commit" && c.n == 2 {
			hangs.Store(true)
		}
		if hangs.Load() && time.Now().Before(end) {
			time.Sleep(5 * time.Second)
			return errStoreDown
		}
		return c.do()
	})
}

// Two things go wrong at one moment.
var harshMoments = tests{
	"the store fails when the intent of a late answer is renewed": func(t *testing.T, w *world) {
		a := w.start()
		began := w.late(a, 70*time.Second)
		a.store.watch(func(c storeCall) error {
			if since := time.Since(began); since > 40*time.Second && since < 50*time.Second {
				return errStoreDown
			}
			return c.do()
		})
		time.Sleep(100 * time.Second)
		a.token(t)
		w.unharmed(1, a)
	},
	"Close comes while an answer that exists is late": func(t *testing.T, w *world) {
		a := w.start()
		w.late(a, 70*time.Second)
		time.Sleep(50 * time.Second)
		require.NoError(t, a.Close(context.Background()))
		w.unharmed(1, w.start())
	},
	"the store hangs when the new tokens are written": func(t *testing.T, w *world) {
		a := w.start()
		w.signIn(a)
		untilDue()
		a.hangs()
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		began := time.Now()
		token, err := a.TokenSource(ctx, alice).Token()
		require.NoError(t, err)
		require.True(t, w.srv.IsLive(token.AccessToken))
		require.LessOrEqual(t, time.Since(began), time.Second)
		time.Sleep(2 * time.Minute)
		w.unharmed(1, a)
	},
	"the store hangs when the intent of a refused refresh is cleared": func(t *testing.T, w *world) {
		a := w.start()
		w.signIn(a)
		first := a.token(t)
		untilDue()
		w.srv.Fail(mxmtest.Token, mxmtest.Status(401, `{"error":"invalid_client"}`, 0))
		a.hangs()
		began := time.Now()
		require.Equal(t, first, a.token(t))
		require.LessOrEqual(t, time.Since(began), time.Second)
		time.Sleep(2 * time.Minute)
		w.unharmed(2, a)
	},
	"a renewal that failed takes place later": func(t *testing.T, w *world) {
		a := w.start()
		began := w.late(a, 80*time.Second)
		var landed atomic.Bool
		a.store.watch(func(c storeCall) error {
			if since := time.Since(began); since > 40*time.Second && since < 50*time.Second {
				if c.op == "commit" && landed.CompareAndSwap(false, true) {
					time.AfterFunc(time.Millisecond, func() { c.late() })
				}
				return errStoreDown
			}
			return c.do()
		})
		time.Sleep(time.Minute)
		require.True(t, landed.Load())
		require.Len(t, w.refreshes(), 1, "it announced no other POST")
		time.Sleep(time.Minute)
		a.token(t)
		w.unharmed(1, a)
	},
}
