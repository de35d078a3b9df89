package core_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// Every answer of the token endpoint to a refresh, by its meaning.
func TestAnswersOfTheTokenEndpoint(t *testing.T) {
	invalidGrant := mxmtest.Status(400, `{"error":"invalid_grant"}`, 0)
	tests := map[string]func(t *testing.T, w *world){
		"nothing written: the intent is cleared, try again": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			time.Sleep(2 * time.Hour)
			w.net.broken.Store(true)
			time.AfterFunc(time.Second, func() { w.net.broken.Store(false) })
			a.token(t) // within its patience
			require.Equal(t, a.token(t), b.token(t))
			w.unharmed(1, a, b)
		},
		"invalid_grant, stored gen higher: adopt": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			before := w.save()
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.Chain(func(*mxmtest.Exchange) {
				w.rewind(before) // the fence is lost, so b gets past it
				b.TokenSource(t.Context(), alice).Token()
			}, invalidGrant), mxmtest.Grant("refresh_token"))
			a.token(t)
			require.Equal(t, []string{"refresh_failed race_lost"}, a.kinds(core.EventRefreshFailed))
			w.unharmed(2, a, b)
		},
		"invalid_grant, foreign live intent: wait, re-read": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			before := w.save()
			time.Sleep(2 * time.Hour)
			w.srv.Fail(mxmtest.Token, mxmtest.Chain(func(*mxmtest.Exchange) {
				w.rewind(before)
				go b.TokenSource(t.Context(), alice).Token()
				time.Sleep(time.Second) // b's intent is out, its POST is slow
			}, invalidGrant))
			w.srv.Fail(mxmtest.Token, mxmtest.SlowRequest(5*time.Second))
			a.token(t)
			w.unharmed(2, a, b)
		},
		"invalid_grant, same gen, nobody else: revoked": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			w.srv.Revoke(alice)
			untilDue()
			require.ErrorIs(t, a.tokenErr(t, time.Second), core.ErrReconnect)
			for range 5 {
				time.Sleep(lease)
				require.ErrorIs(t, a.tokenErr(t, time.Second), core.ErrReconnect)
			}
			w.lost("revoked", 1, a) // a mark: no further calls
		},
		"invalid_grant after a lost answer: lost_response": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			time.Sleep(2 * time.Hour)
			w.srv.Fail(mxmtest.Token, mxmtest.DropResponse)
			a.TokenSource(t.Context(), alice).Token()
			time.Sleep(2 * lease)
			w.lost("lost_response", 2, a)
		},
		"invalid_request: a lost race": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			before := w.save()
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.Chain(func(*mxmtest.Exchange) {
				w.rewind(before)
				b.TokenSource(t.Context(), alice).Token()
			}, mxmtest.Status(400, `{"error":"invalid_request"}`, 0)))
			a.token(t)
			time.Sleep(settle + time.Second)
			w.unharmed(2, a, b)
		},
		"invalid_client in doubt: the doubt stays": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.DropResponse)
			w.srv.Fail(mxmtest.Token, mxmtest.Status(401, `{"error":"invalid_client"}`, 0), mxmtest.Times(4))
			a.TokenSource(t.Context(), alice).Token()
			time.Sleep(lease)
			require.Empty(t, a.kinds(core.EventReconnect))
			require.Contains(t, a.kinds(core.EventRefreshFailed), "refresh_failed invalid_client")
			time.Sleep(lease)
			require.ErrorIs(t, b.tokenErr(t, time.Second), core.ErrReconnect)
			synctest.Wait()
			require.Equal(t, []string{"reconnect lost_response"}, append(a.kinds(core.EventReconnect), b.kinds(core.EventReconnect)...))
		},
		"unauthorized_client: no grant is touched": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			before := w.save()
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.Status(400, `{"error":"unauthorized_client"}`, 0))
			a.token(t)
			synctest.Wait()
			require.NotEqual(t, before.Version, w.save().Version, "the intent came and went")
			time.Sleep(settle)
			a.token(t)
			w.unharmed(2, a)
		},
		"429 with Retry-After: not before": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.Status(429, `{}`, 80*time.Second))
			began := time.Now()
			a.token(t)
			time.Sleep(3 * lease)
			require.Len(t, w.refreshes(), 2)
			require.GreaterOrEqual(t, w.refreshes()[1].Time.Sub(began), 80*time.Second)
			w.unharmed(2, a)
		},
		"no refresh_token: the old one is kept, the grant is not rotated": func(t *testing.T, w *world) {
			w.srv.Configure(func(s *mxmtest.Settings) { s.NoRotation = true })
			a := w.start()
			w.signIn(a)
			untilDue()
			a.token(t)
			w.unharmed(1, a)
			require.Equal(t, []string{"refresh unrotated"}, a.kinds(core.EventRefresh))
			// For such a grant "inactive" proves nothing: a lost answer is replayed.
			time.Sleep(time.Hour - 2*lease)
			w.srv.Fail(mxmtest.Token, mxmtest.DropResponse)
			a.TokenSource(t.Context(), alice).Token()
			time.Sleep(3 * lease)
			w.unharmed(3, a)
		},
		"no expires_in: when the token ends by itself is not known, so inactive proves nothing": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.srv.Configure(func(s *mxmtest.Settings) { s.AccessLifetime = 150 * time.Second })
			w.srv.Fail(mxmtest.Token, mxmtest.DropField("expires_in"))
			w.signIn(a)
			time.Sleep(4 * time.Minute)
			w.killAfterIntent(b)
			a.TokenSource(t.Context(), alice).Token()
			time.Sleep(5 * lease)
			a.TokenSource(t.Context(), alice).Token()
			time.Sleep(settle)
			a.token(t)
			require.Len(t, w.refreshes(), 1)
			require.Empty(t, a.kinds(core.EventReconnect))
		},
		"a success that is not 200, with tokens": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.AfterCommit(func(x *mxmtest.Exchange) { x.Response.Status = 203 }))
			a.token(t)
			w.unharmed(1, a)
			require.Equal(t, []string{"refresh salvaged"}, a.kinds(core.EventRefresh))
		},
		"a refresh token and nothing else": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.DropField("access_token"))
			a.token(t)
			w.unharmed(2, a)
		},
		"another user's tokens": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			untilDue()
			w.srv.Fail(mxmtest.Metadata, mxmtest.SetField("sub", `"mxm:200000000000000000002"`))
			a.TokenSource(t.Context(), alice).Token()
			synctest.Wait()
			w.lost("sub_changed", 1, a)
		},
		"whose tokens they are, asked later": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			untilDue()
			w.srv.Fail(mxmtest.Metadata, mxmtest.Chain(mxmtest.HTML(502)))
			second := a.token(t)
			time.Sleep(lease + time.Second)
			w.srv.Fail(mxmtest.Metadata, mxmtest.SetField("sub", `"mxm:200000000000000000002"`))
			require.Equal(t, second, a.token(t), "the sub that was verified last stands")
			synctest.Wait()
			w.lost("sub_changed", 1, a)
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { inBubble(t, test) })
	}
}

// A server that leaves old access tokens alive cannot be asked what became of a
// refresh: one warning, and from then on doubt is resolved by waiting.
func TestCalibration(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.srv.Configure(func(s *mxmtest.Settings) { s.Kill = mxmtest.KillNone; s.Grace = time.Hour })
		log := &lines{}
		a := w.start(func(c *core.Config) { c.Logger = log.logger() })
		w.signIn(a)
		untilDue()
		a.token(t)
		time.Sleep(2 * settle)
		untilDue()
		a.token(t)
		time.Sleep(2 * settle)
		require.Equal(t, 1, strings.Count(log.text(), "leaves the old access token active"))

		untilDue()
		w.srv.ResetRequests()
		w.srv.Fail(mxmtest.Token, mxmtest.DropResponse)
		began := time.Now()
		a.TokenSource(t.Context(), alice).Token()
		time.Sleep(3 * settle)
		// Believing "active" would have begun anew here, as if nothing had happened.
		require.Len(t, w.refreshes(), 1)
		time.Sleep(lease)
		require.Len(t, w.refreshes(), 2)
		require.GreaterOrEqual(t, w.refreshes()[1].Time.Sub(began), lease)
	})
}

func TestCloseWaitsForWhatMustNotBeCutOff(t *testing.T) {
	tests := map[string]func(t *testing.T, w *world, a *instance){
		"a POST": func(t *testing.T, w *world, a *instance) {
			w.srv.Fail(mxmtest.Token, mxmtest.SlowResponse(5*time.Second))
			go a.TokenSource(t.Context(), alice).Token()
			time.Sleep(time.Second)
			began := time.Now()
			require.NoError(t, a.Close(t.Context()))
			require.Equal(t, 4*time.Second, time.Since(began))
			w.unharmed(1, w.start())
		},
		"tokens that are not written": func(t *testing.T, w *world, a *instance) {
			a.store.watch(func(c storeCall) error {
				if c.op == "commit" && c.n > 1 && c.n < 8 {
					return errStoreDown
				}
				return c.do()
			})
			go a.TokenSource(t.Context(), alice).Token()
			time.Sleep(time.Second)
			require.NoError(t, a.Close(t.Context()))
			w.unharmed(1, w.start())
		},
		"not a watch over another's intent": func(t *testing.T, w *world, a *instance) {
			b := w.start()
			w.srv.Fail(mxmtest.Token, mxmtest.SlowResponse(20*time.Second))
			go b.TokenSource(t.Context(), alice).Token()
			time.Sleep(time.Second)
			go a.TokenSource(t.Context(), alice).Token()
			time.Sleep(time.Second)
			began := time.Now()
			require.NoError(t, a.Close(t.Context()))
			require.Zero(t, time.Since(began))
			time.Sleep(lease)
		},
		"not a server that is down": func(t *testing.T, w *world, a *instance) {
			w.srv.Fail(mxmtest.Token, mxmtest.Status(500, "", 0), mxmtest.Always())
			w.srv.Fail(mxmtest.Metadata, mxmtest.Status(500, "", 0), mxmtest.Always())
			go a.TokenSource(t.Context(), alice).Token()
			time.Sleep(5 * time.Minute)
			began := time.Now()
			require.NoError(t, a.Close(t.Context()))
			require.LessOrEqual(t, time.Since(began), 2*settle)
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				a := w.start()
				w.signIn(a)
				untilDue()
				test(t, w, a)
				_, err := a.TokenSource(t.Context(), "mxm:100000000000000000009").Token()
				require.ErrorIs(t, err, core.ErrUnavailable, "no new flight")
			})
		})
	}
}
