package core_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

var errStoreDown = errors.New("the store is down")

// matrix is every fault that a refresh must survive, or lose one grant to.
var matrix = []struct {
	row  string
	test map[string]func(t *testing.T, w *world)
}{
	{"N goroutines × M instances at expiry", tests{
		"": func(t *testing.T, w *world) {
			all := []*instance{w.start(), w.start(), w.start()}
			w.signIn(all[0])
			untilDue()
			var wg sync.WaitGroup
			for range 50 {
				for _, i := range all {
					wg.Go(func() { i.token(t) })
				}
			}
			wg.Wait()
			w.unharmed(1, all...)
		},
	}},
	{"late arrival with an old view", tests{
		"": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			b.token(t)
			untilDue()
			// b has read the record and is about to write its intent when a refreshes.
			b.store.watch(func(c storeCall) error {
				if c.op == "commit" && c.n == 1 {
					a.token(t)
				}
				return c.do()
			})
			require.Equal(t, b.token(t), a.token(t))
			w.unharmed(1, a, b)
		},
	}},
	{"caller disconnects before, during, after the POST", tests{
		"before": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			untilDue()
			ctx, cancel := context.WithCancel(t.Context())
			a.store.watch(func(c storeCall) error { cancel(); time.Sleep(time.Second); return c.do() })
			_, err := a.TokenSource(ctx, alice).Token()
			require.ErrorIs(t, err, core.ErrUnavailable)
			a.store.watch(nil)
			time.Sleep(lease)
			w.unharmed(1, a)
		},
		"during": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.SlowResponse(5*time.Second))
			require.ErrorIs(t, a.tokenErr(t, time.Second), core.ErrUnavailable)
			time.Sleep(lease)
			w.unharmed(1, a)
		},
		"after": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			untilDue()
			a.store.watch(func(c storeCall) error {
				if c.op == "commit" && c.n == 2 {
					time.Sleep(2 * time.Second)
				}
				return c.do()
			})
			require.ErrorIs(t, a.tokenErr(t, time.Second), core.ErrUnavailable)
			time.Sleep(lease)
			w.unharmed(1, a)
		},
	}},
	{"instance stalls between intent and POST (GC, SIGSTOP)", tests{
		"": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			untilDue()
			w.net.stall.Store(int64(3 * time.Second))
			a.store.watch(func(c storeCall) error {
				if c.op == "commit" && c.n == 2 { // the intent is cleared: nothing was sent
					require.Empty(t, w.refreshes())
					w.net.stall.Store(0)
				}
				return c.do()
			})
			require.NotEmpty(t, a.token(t)) // the old one, while it lives
			time.Sleep(lease)
			a.token(t)
			w.unharmed(1, a)
			require.Equal(t, []string{"refresh_failed unavailable"}, a.kinds(core.EventRefreshFailed))
		},
		"while the intent is written": func(t *testing.T, w *world) { // V7
			a := w.start()
			w.signIn(a)
			untilDue()
			a.store.watch(func(c storeCall) error {
				err := c.do()
				if c.op == "commit" && c.n == 1 {
					time.Sleep(40 * time.Second) // it is applied, its answer comes late
				}
				if c.op == "commit" && c.n == 2 {
					require.Empty(t, w.refreshes())
				}
				return err
			})
			require.NotEmpty(t, a.token(t))
			time.Sleep(2 * lease)
			a.token(t)
			w.unharmed(1, a)
		},
	}},
	{"kill −9 before the intent; after the intent, before the send; after the send, before the server commits", tests{
		"before the intent": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			untilDue()
			a.store.watch(func(c storeCall) error {
				a.store.kill()
				return c.do()
			})
			go a.TokenSource(t.Context(), alice).Token()
			synctest.Wait()
			b.token(t)
			w.unharmed(1, b)
		},
		"after the intent, before the send": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			first := a.token(t)
			untilDue()
			w.killAfterIntent(a)
			require.Equal(t, first, b.token(t)) // at once, while the intent is left alone
			require.Empty(t, w.refreshes())
			time.Sleep(lease + 2*settle + time.Second)
			require.NotEqual(t, first, b.token(t))
			w.unharmed(1, b)
		},
		"after the intent, long ago": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			untilDue()
			w.killAfterIntent(a)
			time.Sleep(time.Hour) // the old token has expired: the oracle is blind
			require.ErrorIs(t, b.tokenErr(t, 0), core.ErrUnavailable)
			time.Sleep(4*lease - time.Second)
			require.Empty(t, w.refreshes())
			time.Sleep(2 * time.Second)
			b.token(t)
			w.unharmed(1, b)
		},
		"after the send, before the server commits": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			first := a.token(t)
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.Chain(func(*mxmtest.Exchange) { a.store.kill() }, mxmtest.DropRequest))
			go a.TokenSource(t.Context(), alice).Token()
			time.Sleep(time.Second)
			require.Equal(t, first, b.token(t))
			time.Sleep(lease + 2*settle + time.Second)
			require.NotEqual(t, first, b.token(t))
			w.unharmed(2, b)
		},
	}},
	{"kill −9 after the server commits, before our write", tests{
		"": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.AfterCommit(func(*mxmtest.Exchange) { a.store.kill() }))
			go a.TokenSource(t.Context(), alice).Token()
			time.Sleep(time.Second)
			b.TokenSource(t.Context(), alice).Token()
			time.Sleep(lease + 2*settle + time.Second)
			w.lost("lost_response", 1, b)
		},
		"seen only while the oracle was blind": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.AfterCommit(func(*mxmtest.Exchange) { a.store.kill() }))
			go a.TokenSource(t.Context(), alice).Token()
			time.Sleep(time.Hour)
			require.ErrorIs(t, b.tokenErr(t, 0), core.ErrUnavailable)
			time.Sleep(5 * lease)
			w.lost("lost_response", 2, b)
		},
		"the oracle was asked in time": func(t *testing.T, w *world) {
			// The lease ends when the old token has expired, but it was seen dead
			// twice before: no replay, and no wait of four leases.
			a, b := w.start(), w.start()
			w.signIn(a)
			time.Sleep(time.Hour - 40*time.Second)
			w.srv.Fail(mxmtest.Token, mxmtest.AfterCommit(func(*mxmtest.Exchange) { a.store.kill() }))
			go a.TokenSource(t.Context(), alice).Token()
			time.Sleep(time.Second)
			b.TokenSource(t.Context(), alice).Token()
			time.Sleep(lease + settle + time.Second)
			w.lost("lost_response", 1, b)
		},
	}},
	{"answer lost (timeout, reset, proxy 502, stale keep-alive EOF), server did not commit", answerLost(map[string]mxmtest.Fault{
		"reset":             mxmtest.DropRequest,
		"502":               mxmtest.HTML(502),
		"503":               mxmtest.Status(503, "", 20*time.Second),
		"429":               mxmtest.Status(429, `{"error":"temporarily_unavailable"}`, 0),
		"html 200":          mxmtest.HTML(200),
		"empty json":        mxmtest.Status(200, `{}`, 0),
		"redirect":          mxmtest.Redirect(307, "http://127.0.0.1/oauth/token"),
		"400":               mxmtest.Status(400, `{"error":"invalid_request"}`, 0),
		"418":               mxmtest.Status(418, `{"error":"invalid_grant_not_really"}`, 0),
		"500 invalid_grant": mxmtest.Status(500, `{"error":"invalid_grant"}`, 0),
		"timeout":           mxmtest.Chain(mxmtest.SlowRequest(timeout+time.Second), mxmtest.DropRequest),
	})},
	{"the same, server committed", tests{
		"strict": func(t *testing.T, w *world) { answerLostAfterCommit(t, w, mxmtest.DropResponse) },
		"502": func(t *testing.T, w *world) {
			answerLostAfterCommit(t, w, mxmtest.AfterCommit(mxmtest.Status(502, "", 0)))
		},
		"timeout": func(t *testing.T, w *world) { answerLostAfterCommit(t, w, mxmtest.SlowResponse(timeout+time.Second)) },
		"grace": func(t *testing.T, w *world) {
			w.srv.Configure(func(s *mxmtest.Settings) { s.Grace = 5 * time.Minute })
			a, b := w.start(), w.start()
			w.signIn(a)
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.DropResponse)
			a.TokenSource(t.Context(), alice).Token()
			time.Sleep(3*settle + time.Second)
			a.token(t)
			require.Equal(t, a.token(t), b.token(t))
			require.Len(t, w.refreshes(), 2)
			require.Equal(t, w.life().AccessToken, a.token(t))
			require.Empty(t, a.kinds(core.EventReconnect))
		},
	}},
	{"200 with odd expires_in, token_type, missing fields", odd(map[string]mxmtest.Fault{
		"expires_in text":    mxmtest.SetField("expires_in", `"soon"`),
		"expires_in float":   mxmtest.SetField("expires_in", `3600.0`),
		"expires_in bool":    mxmtest.SetField("expires_in", `true`),
		"expires_in missing": mxmtest.DropField("expires_in"),
		"token_type":         mxmtest.SetField("token_type", `"mac"`),
		"token_type missing": mxmtest.DropField("token_type"),
		"scope missing":      mxmtest.DropField("scope"),
		"scope reduced":      mxmtest.SetField("scope", `"profile"`),
		"content type":       mxmtest.ContentType("text/plain"),
		"trailing data":      mxmtest.Trailing("garbage"),
		"huge":               mxmtest.Huge(1 << 20),
		"cut after the tokens": func(x *mxmtest.Exchange) {
			x.Commit()
			x.CutAt(len(x.Response.Body) - 1)
		},
	})},
	{"200 truncated inside the RT", tests{
		"": func(t *testing.T, w *world) { answerLostAfterCommit(t, w, mxmtest.Truncated) },
	}},
	{"store down or read-only before the POST", tests{
		"down": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			first := a.token(t)
			untilDue()
			a.store.watch(func(storeCall) error { return errStoreDown })
			require.Equal(t, first, a.token(t))
			time.Sleep(5 * time.Minute) // now it has expired
			require.ErrorIs(t, a.tokenErr(t, 5*time.Second), core.ErrUnavailable)
			require.Empty(t, w.refreshes())
			a.store.watch(nil)
			time.Sleep(settle * 5 / 4)
			a.token(t)
			w.unharmed(1, a)
		},
		"read-only": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			first := a.token(t)
			untilDue()
			a.store.watch(func(c storeCall) error {
				if c.op == "commit" {
					return errStoreDown
				}
				return c.do()
			})
			require.Equal(t, first, a.token(t))
			time.Sleep(5 * time.Minute)
			require.ErrorIs(t, a.tokenErr(t, 5*time.Second), core.ErrUnavailable)
			require.Empty(t, w.refreshes())
			a.store.watch(nil)
			time.Sleep(settle * 5 / 4)
			a.token(t)
			w.unharmed(1, a)
		},
	}},
	{"store dies between POST and write", tests{
		"": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			first := a.token(t)
			untilDue()
			a.store.watch(func(c storeCall) error {
				if c.op == "find" || c.op == "commit" && c.n > 1 {
					if c.n > 1 {
						return errStoreDown
					}
				}
				return c.do()
			})
			second := a.token(t)
			require.NotEqual(t, first, second)
			time.Sleep(10 * time.Minute)
			require.Equal(t, second, a.token(t)) // from memory
			a.store.watch(nil)
			time.Sleep(2 * settle)
			w.unharmed(1, a)
			require.Equal(t, second, b.token(t))
		},
	}},
	{"write times out but was committed", tests{
		"the intent":     func(t *testing.T, w *world) { ambiguous(t, w, 1) },
		"the new tokens": func(t *testing.T, w *world) { ambiguous(t, w, 2) },
		"with nothing read back": func(t *testing.T, w *world) { // V13
			a := w.start()
			w.signIn(a)
			untilDue()
			a.store.watch(func(c storeCall) error {
				if c.op == "commit" && c.n == 1 {
					c.do()
					return errStoreDown
				}
				if c.op == "find" && c.n == 2 {
					return errStoreDown
				}
				return c.do()
			})
			a.token(t)
			time.Sleep(time.Second)
			a.token(t)
			w.unharmed(1, a)
		},
	}},
	{"lease expires under a slow holder", tests{
		"the oracle sees": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			untilDue()
			a.store.watch(func(c storeCall) error {
				if c.op == "commit" && c.n == 2 {
					time.Sleep(2 * lease) // cut off from the store, with the tokens
				}
				return c.do()
			})
			go a.TokenSource(t.Context(), alice).Token()
			time.Sleep(time.Second)
			b.TokenSource(t.Context(), alice).Token()
			time.Sleep(3 * lease)
			a.token(t)
			require.Equal(t, a.token(t), b.token(t))
			require.Len(t, w.refreshes(), 1)
			require.Equal(t, w.life().AccessToken, b.token(t))
			require.Equal(t, []string{"repaired mark_lifted"}, a.kinds(core.EventRepaired))
		},
	}},
	{"store loses a commit, login or tombstone", tests{
		"a commit": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			before := w.save()
			untilDue()
			second := a.token(t)
			time.Sleep(time.Second)
			w.rewind(before)
			time.Sleep(lease)
			require.Equal(t, second, a.token(t))
			require.Equal(t, second, b.token(t))
			require.Equal(t, []string{"repaired store_regressed"}, a.kinds(core.EventRepaired))
			time.Sleep(10 * time.Minute)
			w.unharmed(1, a, b)
		},
		"a login": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			before := w.save()
			b.token(t)
			time.Sleep(time.Minute)
			w.signIn(a)
			second := a.token(t)
			w.rewind(before)
			time.Sleep(lease)
			require.Equal(t, second, a.token(t))
			require.Equal(t, second, b.token(t))
			require.Equal(t, []string{"repaired store_regressed"}, a.kinds(core.EventRepaired))
		},
		"a tombstone": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			before := w.save()
			require.NoError(t, a.Disconnect(t.Context(), alice))
			w.rewind(before)
			require.ErrorIs(t, a.tokenErr(t, time.Second), core.ErrReconnect)
			require.ErrorIs(t, b.tokenErr(t, time.Second), core.ErrReconnect)
		},
		"a mark": func(t *testing.T, w *world) { // gen decides, before status
			a, b := w.start(), w.start()
			w.signIn(a)
			untilDue()
			var before core.Record
			a.store.watch(func(c storeCall) error {
				if c.op == "commit" && c.n == 2 {
					before = w.save()
				}
				return c.do()
			})
			second := a.token(t)
			w.rewind(before)
			b.TokenSource(t.Context(), alice).Token()
			time.Sleep(lease - time.Second)
			w.rewind(before)
			time.Sleep(2 * lease)
			require.Equal(t, second, a.token(t))
			require.Equal(t, second, b.token(t))
		},
	}},
	{"store loses an intent while its POST is in flight; a record vanishes; a first login is lost", tests{
		"an intent": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			before := w.save()
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.AfterCommit(func(*mxmtest.Exchange) {
				w.rewind(before)
				b.TokenSource(t.Context(), alice).Token()
			}))
			a.TokenSource(t.Context(), alice).Token()
			time.Sleep(10 * time.Minute)
			w.settled(a, b)
		},
		"a record": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			b.token(t)
			w.rewind(core.Record{})
			time.Sleep(lease)
			require.ErrorIs(t, a.tokenErr(t, time.Second), core.ErrReconnect)
			w.lost("store_lost_write", 0, a, b)
		},
		"a first login": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			w.rewind(core.Record{})
			time.Sleep(lease)
			require.ErrorIs(t, b.tokenErr(t, time.Second), core.ErrReconnect)
			require.ErrorIs(t, a.tokenErr(t, time.Second), core.ErrReconnect)
			w.lost("store_lost_write", 0, a, b)
		},
	}},
	{"oracle wrongly inactive twice, holder gone or slow; wrongly active twice", tests{
		"inactive, holder gone": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			untilDue()
			w.killAfterIntent(a)
			w.srv.Fail(mxmtest.Metadata, mxmtest.Status(200, `{"active":false}`, 0), mxmtest.Always())
			b.TokenSource(t.Context(), alice).Token()
			time.Sleep(3 * lease)
			w.srv.ClearFaults()
			w.lost("lost_response", 0, b)
		},
		"inactive, holder there": func(t *testing.T, w *world) { // its own replay makes it harmless
			a := w.start()
			w.signIn(a)
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.DropRequest)
			w.srv.Fail(mxmtest.Metadata, mxmtest.Status(200, `{"active":false}`, 0), mxmtest.Times(2))
			a.TokenSource(t.Context(), alice).Token()
			time.Sleep(3 * lease)
			a.token(t)
			w.unharmed(2, a)
		},
		"active": func(t *testing.T, w *world) {
			w.srv.Configure(func(s *mxmtest.Settings) { s.DeathLag = time.Minute })
			a := w.start()
			w.signIn(a)
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.DropResponse)
			a.TokenSource(t.Context(), alice).Token()
			time.Sleep(5 * lease)
			w.lost("lost_response", 2, a)
		},
		"inactive once": func(t *testing.T, w *world) { // V9
			a := w.start()
			w.signIn(a)
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.DropRequest)
			w.srv.Fail(mxmtest.Metadata, mxmtest.Status(200, `{"active":false}`, 0))
			a.token(t)
			time.Sleep(2*settle + time.Second)
			require.Len(t, w.refreshes(), 1, "it takes two looks that agree")
			time.Sleep(settle)
			require.Len(t, w.refreshes(), 2)
			w.unharmed(2, a)
		},
	}},
	{"VM pause that freezes the monotonic clock; a POST that lands after settle", tests{
		"a POST that lands after settle": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.SlowRequest(timeout+3*settle))
			a.TokenSource(t.Context(), alice).Token()
			time.Sleep(10 * time.Minute)
			w.settled(a)
		},
	}},
	{"disconnect during a refresh", tests{
		"here":      func(t *testing.T, w *world) { disconnectDuring(t, w, true) },
		"elsewhere": func(t *testing.T, w *world) { disconnectDuring(t, w, false) },
	}},
	{"login again while the old grant refreshes", tests{
		"": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			untilDue()
			var again string
			w.srv.Fail(mxmtest.Token, mxmtest.AfterCommit(func(*mxmtest.Exchange) {
				id, err := b.Import(t.Context(), w.srv.Issue(alice).RefreshToken)
				require.NoError(t, err)
				require.Equal(t, alice, id)
				again = b.token(t)
			}))
			require.Equal(t, again, func() string { a.TokenSource(t.Context(), alice).Token(); return a.token(t) }())
			require.True(t, w.srv.IsLive(again))
			require.Equal(t, []string{"refresh_failed dropped"}, a.kinds(core.EventRefreshFailed))
		},
	}},
	{"in-flight API calls when the AT dies", tests{
		"": func(t *testing.T, w *world) {
			// Twenty calls of b carry the old token when a's refresh kills it.
			a, b := w.start(), w.start()
			w.signIn(a)
			time.Sleep(time.Hour - 3*lease)
			b.token(t)
			arrived, release := make(chan struct{}, 20), make(chan struct{})
			w.srv.Fail(mxmtest.API, func(x *mxmtest.Exchange) { arrived <- struct{}{}; x.Wait(release) }, mxmtest.Times(20))
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					resp, err := b.Client(t.Context(), alice).Get(w.srv.APIURL() + "/whoami")
					require.NoError(t, err)
					resp.Body.Close()
					require.Equal(t, http.StatusOK, resp.StatusCode)
				})
			}
			for range 20 {
				<-arrived
			}
			time.Sleep(lease + time.Second)
			a.token(t)
			close(release)
			wg.Wait()
			w.unharmed(1, a, b)
		},
	}},
	{"clock ±1 h on one instance", tests{
		"the server ahead":  func(t *testing.T, w *world) { skewed(t, w, time.Hour) },
		"the server behind": func(t *testing.T, w *world) { skewed(t, w, -time.Hour) },
	}},
	{"expires_in 0, 1, −1, missing, huge", expiresIn("0", "1", "-1", "", "1e300", "31536000000")},
	{"secret misconfigured in a deploy", tests{
		"": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			first := a.token(t)
			bad := w.start(func(c *core.Config) { c.ClientSecret = "wrong" })
			untilDue()
			require.Equal(t, first, bad.token(t))
			time.Sleep(5 * time.Minute)
			require.ErrorIs(t, bad.tokenErr(t, time.Second), core.ErrUnavailable)
			time.Sleep(5 * time.Minute)
			require.Contains(t, bad.kinds(core.EventRefreshFailed), "refresh_failed invalid_client")
			require.Empty(t, bad.kinds(core.EventReconnect))
			w.srv.ResetRequests()
			a.token(t)
			w.unharmed(1, a)
		},
	}},
	{"server down for an hour", tests{
		"refusing": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			untilDue()
			w.net.broken.Store(true)
			for range 60 {
				if err := a.tokenErr(t, time.Second); err != nil {
					require.ErrorIs(t, err, core.ErrUnavailable)
				}
				time.Sleep(time.Minute)
			}
			w.net.broken.Store(false)
			time.Sleep(settle)
			a.token(t)
			w.unharmed(1, a)
		},
		"answering 500": func(t *testing.T, w *world) { // V12
			a, b := w.start(), w.start()
			w.signIn(a)
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.Status(500, "", 0), mxmtest.Always())
			w.srv.Fail(mxmtest.Metadata, mxmtest.Status(500, "", 0), mxmtest.Always())
			for range 60 {
				for _, i := range []*instance{a, b} {
					if err := i.tokenErr(t, time.Second); err != nil {
						require.ErrorIs(t, err, core.ErrUnavailable)
					}
				}
				time.Sleep(time.Minute)
			}
			w.srv.ClearFaults()
			time.Sleep(10 * lease)
			require.Equal(t, a.token(t), b.token(t))
			require.Equal(t, w.life().AccessToken, a.token(t))
			require.Empty(t, a.kinds(core.EventReconnect))
			require.Empty(t, b.kinds(core.EventReconnect))
		},
		"answering 500, the oracle well": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			time.Sleep(30 * time.Minute)
			w.srv.Fail(mxmtest.Token, mxmtest.Status(500, "", 0), mxmtest.Always())
			w.srv.ExpireAccessTokens(alice)
			w.srv.Configure(func(s *mxmtest.Settings) {})
			for range 60 {
				if err := a.tokenErr(t, time.Second); err != nil {
					require.ErrorIs(t, err, core.ErrUnavailable)
				}
				time.Sleep(time.Minute)
			}
			w.srv.ClearFaults()
			time.Sleep(10 * lease)
			a.token(t)
			require.Equal(t, w.life().AccessToken, a.token(t))
			require.Empty(t, a.kinds(core.EventReconnect))
		},
	}},
	{"sealing key rotated meanwhile; wrong key deployed", tests{
		"rotated": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			b := w.start(func(c *core.Config) { c.Keys = [][]byte{otherKey(), testKeys[0]} })
			require.Equal(t, a.token(t), b.token(t))
			untilDue()
			b.token(t)
			w.unharmed(1, b)
		},
		"wrong": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			before := w.save()
			b := w.start(func(c *core.Config) { c.Keys = [][]byte{otherKey()} })
			began := time.Now()
			require.ErrorIs(t, b.tokenErr(t, time.Minute), core.ErrUnavailable)
			require.Less(t, time.Since(began), time.Second, "no waiting brings the key")
			require.Contains(t, b.kinds(core.EventRefreshFailed), "refresh_failed decrypt_failed")
			require.Equal(t, before, w.save())
			untilDue()
			a.token(t)
			w.unharmed(1, a)
		},
	}},
	{"database restored from yesterday", tests{
		"": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			before := w.save()
			untilDue()
			a.token(t)
			time.Sleep(24 * time.Hour)
			a.token(t)
			w.rewind(before)
			b := w.start() // it remembers nothing, and a is gone
			w.srv.ResetRequests()
			require.ErrorIs(t, b.tokenErr(t, time.Second), core.ErrReconnect)
			w.lost("revoked", 1, b)
		},
	}},
}

type tests = map[string]func(t *testing.T, w *world)

// rows are the faults of the specification, in its words.
const rows = `N goroutines × M instances at expiry
late arrival with an old view
caller disconnects before, during, after the POST
instance stalls between intent and POST (GC, SIGSTOP)
kill −9 before the intent; after the intent, before the send; after the send, before the server commits
kill −9 after the server commits, before our write
answer lost (timeout, reset, proxy 502, stale keep-alive EOF), server did not commit
the same, server committed
200 with odd expires_in, token_type, missing fields
200 truncated inside the RT
store down or read-only before the POST
store dies between POST and write
write times out but was committed
lease expires under a slow holder
store loses a commit, login or tombstone
store loses an intent while its POST is in flight; a record vanishes; a first login is lost
oracle wrongly inactive twice, holder gone or slow; wrongly active twice
VM pause that freezes the monotonic clock; a POST that lands after settle
disconnect during a refresh
login again while the old grant refreshes
in-flight API calls when the AT dies
clock ±1 h on one instance
expires_in 0, 1, −1, missing, huge
secret misconfigured in a deploy
server down for an hour
sealing key rotated meanwhile; wrong key deployed
database restored from yesterday`

func TestFaultMatrix(t *testing.T) {
	var tested []string
	for _, fault := range matrix {
		tested = append(tested, fault.row)
		require.NotEmpty(t, fault.test, fault.row)
		t.Run(fault.row, func(t *testing.T) {
			for name, test := range fault.test {
				t.Run(name, func(t *testing.T) { inBubble(t, test) })
			}
		})
	}
	require.Equal(t, strings.Split(rows, "\n"), tested)
}

// unharmed requires that n refreshes were sent, and that the one living login
// is what all instances serve, without a word of loss.
func (w *world) unharmed(n int, all ...*instance) {
	w.t.Helper()
	w.agree(all...)
	sent := w.refreshes()
	require.Len(w.t, sent, n, "refreshes")
	for _, r := range sent {
		require.False(w.t, r.Spent, "a spent token was presented")
	}
	for _, i := range all {
		require.Empty(w.t, i.kinds(core.EventReconnect))
	}
}

// lost requires one event of a terminal loss, at most n refreshes, and that a
// new login heals it.
func (w *world) lost(reason string, n int, all ...*instance) {
	w.t.Helper()
	var events []string
	for _, i := range all {
		require.ErrorIs(w.t, i.tokenErr(w.t, time.Second), core.ErrReconnect)
	}
	synctest.Wait()
	for _, i := range all {
		events = append(events, i.kinds(core.EventReconnect)...)
	}
	require.Equal(w.t, []string{"reconnect " + reason}, events)
	require.LessOrEqual(w.t, len(w.refreshes()), n, "refreshes")
	w.signIn(all[0])
	for _, i := range all {
		require.True(w.t, w.srv.IsLive(i.token(w.t)))
	}
}

// settled requires that the instances agree, once they have asked: all serve
// the living token, or all want a new login and exactly one said so.
func (w *world) settled(all ...*instance) {
	w.t.Helper()
	err := all[0].Verify(w.t.Context(), alice)
	for _, i := range all[1:] {
		require.Equal(w.t, err == nil, i.Verify(w.t.Context(), alice) == nil)
	}
	if err == nil {
		w.agree(all...)
		return
	}
	require.ErrorIs(w.t, err, core.ErrReconnect)
	synctest.Wait()
	losses := 0
	for _, i := range all {
		losses += len(i.kinds(core.EventReconnect))
		for _, e := range i.kinds(core.EventRepaired) {
			if e == "repaired mark_lifted" {
				losses-- // that loss was none
			}
		}
	}
	require.Equal(w.t, 1, losses)
	w.signIn(all[0])
	w.agree(all...)
}

// agree requires that all serve the living token, once caches are renewed.
func (w *world) agree(all ...*instance) {
	w.t.Helper()
	time.Sleep(lease)
	for _, i := range all {
		served := i.token(w.t)
		require.Equal(w.t, w.life().AccessToken, served)
	}
}

// killAfterIntent lets i write an intent and die.
func (w *world) killAfterIntent(i *instance) {
	w.t.Helper()
	w.net.broken.Store(true)
	i.store.watch(func(c storeCall) error {
		if c.op == "commit" {
			i.store.kill()
		}
		return c.do()
	})
	go i.TokenSource(w.t.Context(), alice).Token()
	synctest.Wait()
	time.Sleep(time.Millisecond)
	w.net.broken.Store(false)
}

func answerLost(faults map[string]mxmtest.Fault) tests {
	all := tests{}
	for name, fault := range faults {
		all[name] = func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			first := a.token(t)
			untilDue()
			w.srv.Fail(mxmtest.Token, fault)
			require.Equal(t, first, a.token(t)) // while it lives
			time.Sleep(2*lease + 2*settle)
			second := a.token(t)
			require.NotEqual(t, first, second)
			require.Equal(t, second, b.token(t))
			w.unharmed(2, a, b)
		}
	}
	return all
}

func answerLostAfterCommit(t *testing.T, w *world, fault mxmtest.Fault) {
	a, b := w.start(), w.start()
	w.signIn(a)
	untilDue()
	w.srv.Fail(mxmtest.Token, fault)
	a.TokenSource(t.Context(), alice).Token()
	b.TokenSource(t.Context(), alice).Token()
	time.Sleep(timeout + 3*settle + time.Second)
	w.lost("lost_response", 2, a, b) // the second is the holder's one replay
}

func odd(faults map[string]mxmtest.Fault) tests {
	all := tests{}
	for name, fault := range faults {
		all[name] = func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			first := a.token(t)
			untilDue()
			w.srv.Fail(mxmtest.Token, fault)
			second := a.token(t)
			require.NotEqual(t, first, second)
			require.Equal(t, second, b.token(t))
			w.unharmed(1, a, b)
			require.Empty(t, a.kinds(core.EventRefreshFailed))
		}
	}
	return all
}

func ambiguous(t *testing.T, w *world, n int) {
	a := w.start()
	w.signIn(a)
	first := a.token(t)
	untilDue()
	a.store.watch(func(c storeCall) error {
		err := c.do()
		if c.op == "commit" && c.n == n {
			return errStoreDown
		}
		return err
	})
	require.NotEqual(t, first, a.token(t))
	w.unharmed(1, a)
}

// A login that was given up may be written after all, and after a disconnect.
func TestDisconnectFencesLateLogins(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.start()
		var late func() error
		a.store.watch(func(c storeCall) error {
			if c.op == "commit" && late == nil {
				late = c.late
				return errStoreDown
			}
			return c.do()
		})
		_, err := a.Import(t.Context(), w.srv.Issue(alice).RefreshToken)
		require.ErrorIs(t, err, core.ErrUnavailable)
		require.NoError(t, a.Disconnect(t.Context(), alice))
		require.ErrorIs(t, late(), core.ErrConflict)
		require.ErrorIs(t, a.tokenErr(t, time.Second), core.ErrReconnect)
	})
}

// Failures that are long over do not make the next one take longer.
func TestBackoffBeginsAnew(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.start()
		w.signIn(a)
		blip := func() {
			a.store.watch(func(c storeCall) error {
				if c.op == "find" && c.n == 1 {
					return errStoreDown
				}
				return c.do()
			})
		}
		for range 20 {
			time.Sleep(lease + time.Second)
			blip()
			a.token(t)
			time.Sleep(lease + time.Second)
			a.token(t)
		}
		time.Sleep(time.Hour)
		blip()
		asked := time.Now()
		a.token(t)
		require.Less(t, time.Since(asked), time.Second)
	})
}

// A login that comes between Disconnect's look and its write stays, with
// everything that a revocation of the older tokens could end.
func TestDisconnectOfWhatALoginReplaced(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.srv.Configure(func(s *mxmtest.Settings) { s.Revocation = true })
		revoking := func(c *core.Config) { c.Endpoint.RevocationURL = w.srv.URL + "/oauth/revoke" }
		a, b := w.start(revoking), w.start(revoking)
		w.signIn(a)
		a.store.watch(func(c storeCall) error {
			if c.op == "commit" && c.n == 1 {
				w.signIn(b)
			}
			return c.do()
		})
		require.NoError(t, a.Disconnect(t.Context(), alice))
		for _, r := range w.srv.Requests() {
			require.NotEqual(t, mxmtest.Revocation, r.Endpoint)
		}
		require.True(t, w.srv.IsLive(b.token(t)))
	})
}

// A terminal loss is reported once, also when the store wrote the mark, said
// that it did not, and could not be read for a while.
func TestMarkWithoutAnAnswer(t *testing.T) {
	for reason, mark := range map[string]int{"revoked": 2, "sub_changed": 3} {
		t.Run(reason, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				a := w.start()
				w.signIn(a)
				untilDue()
				if mark == 2 {
					w.srv.Revoke(alice)
				} else {
					w.srv.Fail(mxmtest.Metadata, mxmtest.SetField("sub", `"mxm:200000000000000000002"`))
				}
				unreadable := 0
				a.store.watch(func(c storeCall) error {
					switch {
					case c.op == "commit" && c.n == mark:
						unreadable = 2
						require.NoError(t, c.do())
						return errStoreDown
					case c.op == "find" && unreadable > 0:
						unreadable--
						return errStoreDown
					}
					return c.do()
				})
				a.tokenErr(t, time.Minute)
				time.Sleep(time.Minute)
				w.lost(reason, 1, a)
			})
		})
	}
}

func disconnectDuring(t *testing.T, w *world, here bool) {
	w.srv.Configure(func(s *mxmtest.Settings) { s.Revocation = true })
	revoking := func(c *core.Config) { c.Endpoint.RevocationURL = w.srv.URL + "/oauth/revoke" }
	a, b := w.start(revoking), w.start(revoking)
	w.signIn(a)
	untilDue()
	other := b
	if here {
		other = a
	}
	w.srv.Fail(mxmtest.Revocation, mxmtest.HTML(502)) // of the tokens that Disconnect found: the late ones remain
	w.srv.Fail(mxmtest.Token, mxmtest.AfterCommit(func(*mxmtest.Exchange) {
		require.NoError(t, other.Disconnect(t.Context(), alice))
	}))
	require.ErrorIs(t, a.tokenErr(t, time.Minute), core.ErrReconnect)
	require.ErrorIs(t, b.tokenErr(t, time.Minute), core.ErrReconnect)
	synctest.Wait()
	require.Empty(t, w.srv.Live(alice), "the late tokens are revoked")
	require.Empty(t, a.kinds(core.EventReconnect), "a disconnect is no loss")
}

func skewed(t *testing.T, w *world, skew time.Duration) {
	a := w.start()
	w.signIn(a)
	w.srv.Configure(func(s *mxmtest.Settings) { s.DateSkew = skew })
	untilDue()
	a.token(t)
	b := w.start() // it has not spoken with the server yet
	for range 8 {
		resp, err := b.Client(t.Context(), alice).Get(w.srv.APIURL() + "/whoami")
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, http.StatusOK, resp.StatusCode)
		time.Sleep(15 * time.Minute)
	}
	require.LessOrEqual(t, len(w.refreshes()), 4, "two hours need two; each instance may be wrong once")
	for _, r := range w.refreshes() {
		require.False(t, r.Spent)
	}
	require.Empty(t, b.kinds(core.EventReconnect))
}

func expiresIn(values ...string) tests {
	all := tests{}
	for _, v := range values {
		all["expires_in "+v] = func(t *testing.T, w *world) {
			fault := mxmtest.SetField("expires_in", v)
			if v == "" {
				fault = mxmtest.DropField("expires_in")
			}
			w.srv.Fail(mxmtest.Token, fault, mxmtest.Always())
			a := w.start()
			w.signIn(a)
			for range 600 { // ten minutes, a call each second
				a.token(t)
				time.Sleep(time.Second)
			}
			require.LessOrEqual(t, len(w.refreshes()), 30, "at most one in 24 s")
			require.Empty(t, a.kinds(core.EventReconnect))
			w.agree(a)
		}
	}
	return all
}

func otherKey() []byte {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(255 - i*5)
	}
	return key
}
