package core_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// grants returns the client credentials requests that arrived.
func (w *world) grants() (all []mxmtest.Request) {
	for _, r := range w.srv.Requests() {
		if r.GrantType == "client_credentials" {
			all = append(all, r)
		}
	}
	return all
}

func TestAppToken(t *testing.T) {
	tests := map[string]func(t *testing.T, w *world, a *instance){
		"one flight per scope set": func(t *testing.T, w *world, a *instance) {
			var wg sync.WaitGroup
			for n := range 60 {
				wg.Go(func() {
					scopes := [][]string{{"a", "b"}, {"b", "a", "a"}, {"b"}}[n%3]
					_, err := a.AppTokenSource(t.Context(), scopes...).Token()
					require.NoError(t, err)
				})
			}
			wg.Wait()
			require.Len(t, w.grants(), 2)
			require.ElementsMatch(t, []string{"a b", "b"}, []string{w.grants()[0].Form.Get("scope"), w.grants()[1].Form.Get("scope")})
			require.Len(t, a.kinds(core.EventAppToken), 2)
		},
		"renewed ahead of expiry while the old one serves": func(t *testing.T, w *world, a *instance) {
			ts := a.AppTokenSource(t.Context())
			first, err := ts.Token()
			require.NoError(t, err)
			time.Sleep(time.Hour - 60*time.Second)
			w.srv.Fail(mxmtest.Token, mxmtest.SlowResponse(5*time.Second))
			began := time.Now()
			during, err := ts.Token()
			require.NoError(t, err)
			require.Same(t, first, during)
			require.Zero(t, time.Since(began))
			time.Sleep(6 * time.Second)
			second, err := ts.Token()
			require.NoError(t, err)
			require.NotEqual(t, first.AccessToken, second.AccessToken)
			require.True(t, w.srv.IsLive(first.AccessToken), "renewing kills nothing")
			require.Len(t, w.grants(), 2)
		},
		"failures back off, and the old one serves": func(t *testing.T, w *world, a *instance) {
			ts := a.AppTokenSource(t.Context())
			_, err := ts.Token()
			require.NoError(t, err)
			time.Sleep(time.Hour - 60*time.Second)
			w.srv.Fail(mxmtest.Token, mxmtest.Status(503, "", 20*time.Second), mxmtest.Always())
			for range 30 {
				_, err = ts.Token()
				require.NoError(t, err)
				time.Sleep(time.Second)
			}
			require.LessOrEqual(t, len(w.grants()), 3, "Retry-After is honoured")
			time.Sleep(time.Minute)
			_, err = ts.Token()
			require.ErrorIs(t, err, core.ErrUnavailable)
		},
		"refused": func(t *testing.T, w *world, _ *instance) {
			a := w.start(func(c *core.Config) { c.ClientSecret = "wrong" })
			_, err := a.AppTokenSource(t.Context()).Token()
			require.ErrorIs(t, err, core.ErrUpstream)
			require.Equal(t, []string{"app_token invalid_client"}, a.kinds(core.EventAppToken))
		},
		"fewer scopes than asked for": func(t *testing.T, w *world, a *instance) {
			w.srv.Fail(mxmtest.Token, mxmtest.SetField("scope", `"a"`))
			_, err := a.AppTokenSource(t.Context(), "a", "b").Token()
			require.ErrorIs(t, err, core.ErrUpstream)
		},
		"never a user's": func(t *testing.T, w *world, a *instance) {
			w.signIn(a)
			app, err := a.AppTokenSource(t.Context()).Token()
			require.NoError(t, err)
			require.NotEqual(t, a.token(t), app.AccessToken)
			_, err = a.TokenSource(t.Context(), "").Token()
			require.ErrorIs(t, err, core.ErrNotSignedIn)
		},
		"a rejected one is replaced, once for all": func(t *testing.T, w *world, a *instance) {
			client := a.AppClient(t.Context(), "a")
			resp, err := client.Get(w.srv.APIURL() + "/whoami")
			require.NoError(t, err)
			resp.Body.Close()
			time.Sleep(time.Minute)
			old, err := a.AppTokenSource(t.Context(), "a").Token()
			require.NoError(t, err)
			w.srv.Fail(mxmtest.API, mxmtest.Status(401, `{}`, 0), mxmtest.Always(), mxmtest.If(func(r mxmtest.Request) bool { return r.Token == old.AccessToken }))
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					resp, err := client.Get(w.srv.APIURL() + "/whoami")
					require.NoError(t, err)
					resp.Body.Close()
				})
			}
			wg.Wait()
			require.Len(t, w.grants(), 2)
		},
		"a fresh one that is rejected is not": func(t *testing.T, w *world, a *instance) {
			w.srv.Fail(mxmtest.API, mxmtest.Status(401, `{}`, 0), mxmtest.Always())
			for range 5 {
				resp, err := a.AppClient(t.Context()).Get(w.srv.APIURL() + "/whoami")
				require.NoError(t, err)
				resp.Body.Close()
				require.Equal(t, 401, resp.StatusCode)
			}
			require.Len(t, w.grants(), 1)
		},
		"who hears of a failure may ask for the token": func(t *testing.T, w *world, _ *instance) {
			var a *instance
			var waited time.Duration
			a = w.start(func(c *core.Config) {
				c.OnEvent = func(ctx context.Context, _ core.Event) {
					began := time.Now()
					_, err := a.AppTokenSource(ctx).Token()
					require.ErrorIs(t, err, core.ErrUnavailable)
					waited = time.Since(began)
				}
			})
			w.srv.Fail(mxmtest.Token, mxmtest.Status(503, "", time.Minute), mxmtest.Always())
			_, err := a.AppTokenSource(t.Context()).Token()
			require.ErrorIs(t, err, core.ErrUnavailable)
			synctest.Wait()
			require.Positive(t, waited)
			require.Less(t, waited, time.Second)
		},
		"after Close": func(t *testing.T, w *world, a *instance) {
			require.NoError(t, a.Close(t.Context()))
			_, err := a.AppTokenSource(t.Context()).Token()
			require.ErrorIs(t, err, core.ErrUnavailable)
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) { test(t, w, w.start()) })
		})
	}
}
