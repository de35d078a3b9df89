package core_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// Each of these is a failure that happened in a world that is less kind than
// that of the fault matrix: answers are late, servers lag, instances and clocks
// differ, networks are slow and hooks call back.
func TestHarsherWorld(t *testing.T) {
	for _, group := range []tests{harshServer, harshDeployment, harshHost, harshCallers, harshMoments} {
		for name, test := range group {
			t.Run(name, func(t *testing.T) { inBubble(t, test) })
		}
	}
}

// paused provokes a 429, after which nothing is asked of the server for two minutes.
func paused(provoke func(t *testing.T, w *world, a *instance)) func(t *testing.T, w *world) {
	return func(t *testing.T, w *world) {
		a := w.start()
		w.signIn(a)
		untilDue()
		provoke(t, w, a)
		w.srv.ResetRequests()
		for end := time.Now().Add(100 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Second) {
			a.TokenSource(t.Context(), alice).Token()
			require.ErrorIs(t, a.Verify(t.Context(), alice), core.ErrUnavailable)
			_, err := a.AppTokenSource(t.Context(), "another").Token()
			require.ErrorIs(t, err, core.ErrUnavailable)
			require.ErrorIs(t, w.tryToLogIn(a), core.ErrUnavailable)
		}
		for _, r := range w.srv.Requests() {
			require.NotContains(t, []mxmtest.Endpoint{mxmtest.Token, mxmtest.Metadata}, r.Endpoint)
		}
		time.Sleep(time.Minute)
		require.NoError(t, w.tryToLogIn(a))
	}
}

var harshServer = tests{
	"token-metadata knows a new token late: an import spends no second token": func(t *testing.T, w *world) {
		a := w.start()
		w.srv.Configure(func(s *mxmtest.Settings) { s.BirthLag = time.Hour })
		_, err := a.Import(t.Context(), w.srv.Issue(alice).RefreshToken)
		require.ErrorIs(t, err, core.ErrUnavailable)
		require.LessOrEqual(t, len(w.refreshes()), 2)
	},
	"token-metadata knows a new token late: neither do calls and Verify": func(t *testing.T, w *world) {
		a := w.start()
		w.signIn(a)
		untilDue()
		w.srv.Configure(func(s *mxmtest.Settings) { s.BirthLag = time.Hour })
		a.token(t)
		w.srv.Fail(mxmtest.API, mxmtest.Status(401, `{}`, 0), mxmtest.Always())
		for range 120 {
			require.Equal(t, 401, w.status(a))
			require.Error(t, a.Verify(t.Context(), alice))
			time.Sleep(time.Second)
		}
		require.LessOrEqual(t, len(w.refreshes()), 5)
		require.Empty(t, a.kinds(core.EventReconnect))
	},
	"a late answer does not date the natural end of its token": func(t *testing.T, w *world) {
		a, b := w.start(), w.start()
		w.signIn(a)
		untilDue()
		w.srv.Fail(mxmtest.Token, mxmtest.SlowResponse(25*time.Second), mxmtest.Grant("refresh_token"))
		issued := time.Now()
		require.NoError(t, a.tokenErr(t, time.Minute))
		b.token(t)
		time.Sleep(time.Until(issued.Add(time.Hour - 55*time.Second)))
		w.killAfterIntent(a) // b takes over; by then the token has just expired
		for range 100 {
			b.leave(t, time.Second)
		}
		time.Sleep(4 * lease)
		require.NoError(t, b.tokenErr(t, 4*lease))
		w.unharmed(2, b)
	},
	"a definite refusal is definite for the caller, and is not repeated for ever": func(t *testing.T, w *world) {
		a := w.start()
		w.signIn(a)
		time.Sleep(2 * time.Hour)
		w.srv.Fail(mxmtest.Token, mxmtest.Status(400, `{"error":"invalid_scope"}`, 0), mxmtest.Always())
		require.ErrorIs(t, a.tokenErr(t, time.Minute), core.ErrUpstream)
		time.Sleep(24 * time.Hour) // nobody asks
		require.Len(t, w.refreshes(), 1)
		for range 60 {
			require.ErrorIs(t, a.tokenErr(t, time.Minute), core.ErrUpstream)
			time.Sleep(time.Minute)
		}
		require.LessOrEqual(t, len(w.refreshes()), 25)
		w.srv.ClearFaults()
		time.Sleep(10 * time.Minute)
		a.token(t)
		require.Empty(t, a.kinds(core.EventReconnect))
	},
	"six hours of 502, and nobody asks": func(t *testing.T, w *world) {
		a := w.start()
		w.signIn(a)
		untilDue()
		w.srv.Fail(mxmtest.Token, mxmtest.HTML(502), mxmtest.Always())
		a.TokenSource(t.Context(), alice).Token()
		time.Sleep(6 * time.Hour)
		require.LessOrEqual(t, len(w.refreshes()), 5)
		w.srv.ClearFaults()
		require.NoError(t, a.tokenErr(t, 5*time.Minute))
	},
	"a 429 is about the client": func(t *testing.T, w *world) {
		a := w.start()
		w.signIn(a)
		untilDue()
		w.srv.Fail(mxmtest.Token, mxmtest.Status(429, `{}`, 2*time.Minute), mxmtest.Always())
		a.TokenSource(t.Context(), alice).Token()
		time.Sleep(time.Second)
		before := len(w.srv.Requests())
		for end := time.Now().Add(100 * time.Second); time.Now().Before(end); time.Sleep(time.Second) {
			a.TokenSource(t.Context(), alice).Token()
			a.Verify(t.Context(), alice)
		}
		require.Len(t, w.srv.Requests(), before, "not a call of any kind until then")
	},
	"a 429 is about the client, also as the answer to a code": paused(func(t *testing.T, w *world, a *instance) {
		w.srv.Fail(mxmtest.Token, mxmtest.Status(429, `{}`, 2*time.Minute))
		require.Error(t, w.tryToLogIn(a))
	}),
	"a 429 is about the client, also when it is asked who signs in": paused(func(t *testing.T, w *world, a *instance) {
		w.srv.Fail(mxmtest.Metadata, mxmtest.Status(429, `{}`, 2*time.Minute))
		require.Error(t, w.tryToLogIn(a))
	}),
	"a 429 is about the client, also as the answer to the application": paused(func(t *testing.T, w *world, a *instance) {
		w.srv.Fail(mxmtest.Token, mxmtest.Status(429, `{}`, 2*time.Minute))
		_, err := a.AppTokenSource(t.Context()).Token()
		require.ErrorIs(t, err, core.ErrUnavailable)
	}),
	"no promise is stretched by a Retry-After": func(t *testing.T, w *world) {
		a, b := w.start(), w.start()
		w.signIn(a)
		untilDue()
		w.srv.Fail(mxmtest.Token, mxmtest.Status(429, `{}`, 2*time.Minute), mxmtest.Always())
		a.TokenSource(t.Context(), alice).Token()
		time.Sleep(35 * time.Second)
		require.NoError(t, b.Disconnect(t.Context(), alice))
		time.Sleep(lease)
		require.ErrorIs(t, a.tokenErr(t, time.Second), core.ErrReconnect)
	},
	"a token that was dead before the refresh says nothing about the refresh": func(t *testing.T, w *world) {
		a := w.start()
		w.signIn(a)
		a.token(t)
		time.Sleep(10 * time.Minute)
		w.srv.ExpireAccessTokens(alice)
		w.srv.Fail(mxmtest.Token, mxmtest.HTML(502), mxmtest.Times(2)) // neither reaches the server
		for range 300 {
			go func() {
				if resp, err := w.whoami(a); err == nil {
					resp.Body.Close()
				}
			}()
			time.Sleep(time.Second)
		}
		require.Empty(t, a.kinds(core.EventReconnect))
		a.token(t)
	},
	"an empty refresh token is none": func(t *testing.T, w *world) {
		w.srv.Configure(func(s *mxmtest.Settings) { s.NoRotation = true })
		a := w.start()
		w.signIn(a)
		untilDue()
		w.srv.Fail(mxmtest.Token, mxmtest.SetField("refresh_token", `""`), mxmtest.Grant("refresh_token"))
		first := a.token(t)
		time.Sleep(settle)
		require.Equal(t, first, a.token(t))
		untilDue()
		require.NotEqual(t, first, a.token(t))
		w.unharmed(2, a)
	},
	"a grant without a refresh token does not end by two answers of one instant": func(t *testing.T, w *world) {
		a := w.start()
		w.srv.Configure(func(s *mxmtest.Settings) { s.NoRotation = true })
		w.srv.Fail(mxmtest.Token, mxmtest.Chain(mxmtest.DropField("refresh_token"), mxmtest.DropField("expires_in")))
		w.logIn(a)
		a.token(t)
		time.Sleep(5 * time.Minute)
		w.srv.Fail(mxmtest.Metadata, mxmtest.Chain(mxmtest.SetField("active", "false")), mxmtest.Times(1))
		a.tokenErr(t, time.Second)
		time.Sleep(2 * settle)
		require.NoError(t, a.tokenErr(t, time.Minute))
	},
}

var harshDeployment = tests{
	"instances with different RefreshTimeout spend one token once": func(t *testing.T, w *world) {
		a := w.start(func(c *core.Config) { c.RefreshTimeout = 2 * time.Minute })
		b := w.start()
		w.signIn(a)
		b.token(t)
		untilDue()
		w.srv.Fail(mxmtest.Token, mxmtest.SlowRequest(100*time.Second))
		a.leave(t, time.Second)
		for range 150 {
			b.leave(t, time.Second)
		}
		time.Sleep(2 * time.Minute)
		w.unharmed(1, a, b)
	},
	"a Disconnect outlives a login that the store has lost": func(t *testing.T, w *world) {
		a, b := w.start(), w.start()
		w.signIn(a)
		before := w.save()
		time.Sleep(time.Hour)
		w.signIn(a)
		w.rewind(before)
		require.NoError(t, b.Disconnect(t.Context(), alice))
		time.Sleep(lease)
		require.ErrorIs(t, a.tokenErr(t, time.Second), core.ErrReconnect)
		require.ErrorIs(t, b.tokenErr(t, time.Second), core.ErrReconnect)
	},
	"a Disconnect whose answer was lost revokes when it is repeated": func(t *testing.T, w *world) {
		w.srv.Configure(func(s *mxmtest.Settings) { s.Revocation = true })
		a := w.start(func(c *core.Config) { c.Endpoint.RevocationURL = c.BaseURL + "/oauth/revoke" })
		w.signIn(a)
		lost := true
		a.store.watch(func(c storeCall) error {
			if c.op == "commit" {
				c.do()
				return errStoreDown
			}
			if c.op == "find" && c.n > 1 && lost {
				return errStoreDown
			}
			return c.do()
		})
		require.ErrorIs(t, a.Disconnect(t.Context(), alice), core.ErrUnavailable)
		lost = false
		a.store.watch(nil)
		require.NoError(t, a.Disconnect(t.Context(), alice))
		require.Empty(t, w.srv.Live(alice))
	},
	"an abandoned import leaves nothing without an end": func(t *testing.T, w *world) {
		a := w.start()
		w.srv.Fail(mxmtest.Token, mxmtest.HTML(502), mxmtest.Always())
		var record core.Record
		spy := &instanceStore{GrantStore: recording{w.store, &record}}
		b := w.start(func(c *core.Config) { c.Grants = spy })
		_, err := b.Import(t.Context(), w.srv.Issue(alice).RefreshToken)
		require.Error(t, err)
		require.NotEmpty(t, record.Version)
		require.False(t, record.Expiry.IsZero())
		require.NoError(t, a.Close(t.Context()))
	},
	"a store that always conflicts is not called in a hot loop": func(t *testing.T, w *world) {
		a := w.start()
		w.signIn(a)
		calls := 0
		a.store.watch(func(c storeCall) error {
			calls++
			if c.op == "commit" {
				return core.ErrConflict
			}
			return c.do()
		})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		require.Error(t, a.Disconnect(ctx, alice))
		require.Less(t, calls, 200)
	},
}

var harshHost = tests{
	"the application's transport cuts nothing off": func(t *testing.T, w *world) {
		a := w.start(func(c *core.Config) {
			transport := c.HTTPClient.Transport.(*http.Transport)
			transport.ResponseHeaderTimeout, transport.MaxConnsPerHost = 5*time.Second, 1
		})
		w.signIn(a)
		untilDue()
		w.srv.Fail(mxmtest.Token, mxmtest.SlowResponse(20*time.Second), mxmtest.Grant("refresh_token"))
		a.token(t)
		time.Sleep(lease)
		w.unharmed(1, a)
	},
	"dialling takes longer than the send budget": func(t *testing.T, w *world) {
		a := w.start()
		w.signIn(a)
		untilDue()
		w.net.stall.Store(int64(5 * time.Second))
		for range 4 {
			a.TokenSource(t.Context(), alice).Token()
			time.Sleep(10 * time.Second)
		}
		require.Len(t, w.refreshes(), 1)
		w.net.stall.Store(0)
		w.unharmed(1, a)
	},
	"a clock that is behind at the start hands out no dead token": func(t *testing.T, w *world) {
		w.srv.Configure(func(s *mxmtest.Settings) { s.DateSkew = 2 * time.Hour })
		a := w.start()
		w.signIn(a)
		time.Sleep(61 * time.Minute)
		b := w.start()
		require.True(t, w.srv.IsLive(b.token(t)))
		w.unharmed(1, b)
	},
	"neither does it to a second user, who is asked for at once": func(t *testing.T, w *world) {
		w.srv.Configure(func(s *mxmtest.Settings) { s.DateSkew = 2 * time.Hour })
		a := w.start()
		w.signIn(a)
		const bob = "mxm:100000000000000000002"
		_, err := a.Import(t.Context(), w.srv.Issue(bob).RefreshToken)
		require.NoError(t, err)
		time.Sleep(61 * time.Minute)
		w.srv.Fail(mxmtest.Metadata, mxmtest.SlowResponse(100*time.Millisecond), mxmtest.Always())
		b := w.start()
		go b.TokenSource(t.Context(), bob).Token()
		time.Sleep(10 * time.Millisecond)
		require.True(t, w.srv.IsLive(b.token(t)))
		time.Sleep(time.Minute)
	},
	"Close does not wait behind introspections": func(t *testing.T, w *world) {
		a := w.start()
		user := func(n int) string { return fmt.Sprintf("mxm:3%020d", n) }
		for n := range 300 {
			_, err := a.Import(t.Context(), w.srv.Issue(user(n)).RefreshToken)
			require.NoError(t, err)
		}
		w.srv.Fail(mxmtest.Metadata, mxmtest.SlowRequest(9*time.Second), mxmtest.Always())
		w.srv.Fail(mxmtest.API, mxmtest.Status(401, `{}`, 0), mxmtest.Always())
		for n := range 300 {
			go func() {
				if resp, err := a.Client(t.Context(), user(n)).Get(w.srv.APIURL() + "/whoami"); err == nil {
					resp.Body.Close()
				}
			}()
		}
		time.Sleep(time.Second)
		began := time.Now()
		require.NoError(t, a.Close(context.Background()))
		require.Less(t, time.Since(began), 2*time.Second)
		time.Sleep(time.Minute)
	},
	"refreshes that hang do not starve those that move": func(t *testing.T, w *world) {
		a := w.start()
		user := func(n int) string { return fmt.Sprintf("mxm:3%020d", n) }
		for n := range 100 {
			_, err := a.Import(t.Context(), w.srv.Issue(user(n)).RefreshToken)
			require.NoError(t, err)
		}
		time.Sleep(2 * time.Hour)
		w.srv.Fail(mxmtest.Token, mxmtest.SlowRequest(time.Hour), mxmtest.Times(64))
		for n := range 64 {
			go a.TokenSource(t.Context(), user(n)).Token()
		}
		time.Sleep(100 * time.Millisecond)
		for n := 64; n < 100; n++ {
			_, err := a.TokenSource(t.Context(), user(n)).Token()
			require.NoError(t, err)
		}
	},
	"a hanging store does not delay a caller whose token lives": func(t *testing.T, w *world) {
		a := w.start()
		w.signIn(a)
		first := a.token(t)
		time.Sleep(lease + time.Second) // what is cached is to be read again
		a.store.watch(func(c storeCall) error {
			time.Sleep(4 * time.Second)
			return c.do()
		})
		began := time.Now()
		require.Equal(t, first, a.token(t))
		require.LessOrEqual(t, time.Since(began), time.Second)
		time.Sleep(10 * time.Second)
	},
	"a panic of the logger": func(t *testing.T, w *world) {
		a := w.start(func(c *core.Config) { c.Logger = slog.New(panicHandler{}) })
		_, err := a.Import(t.Context(), w.srv.Issue(alice).RefreshToken)
		require.NoError(t, err)
		untilDue()
		a.token(t)
		time.Sleep(time.Minute)
		a.token(t)
	},
	"a panic of a transport's body": func(t *testing.T, w *world) {
		a := w.start(func(c *core.Config) { c.HTTPClient = &http.Client{Transport: panicTransport{}} })
		_, err := a.Import(t.Context(), w.srv.Issue(alice).RefreshToken)
		require.ErrorIs(t, err, core.ErrUnavailable)
	},
}

var harshCallers = tests{
	"a deadline makes nobody fare worse": func(t *testing.T, w *world) {
		a := w.start()
		w.signIn(a)
		first := a.token(t)
		untilDue()
		w.srv.Fail(mxmtest.Token, mxmtest.SlowRequest(29*time.Second))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		token, err := a.TokenSource(ctx, alice).Token()
		require.NoError(t, err)
		require.Equal(t, first, token.AccessToken)
		time.Sleep(lease)
		w.unharmed(1, a)
	},
	"OnEvent asks for the token": func(t *testing.T, w *world) {
		var a *instance
		asked := make(chan error, 10)
		a = w.start(func(c *core.Config) {
			c.OnEvent = func(ctx context.Context, e core.Event) {
				if e.Kind == core.EventRefreshFailed {
					_, err := a.TokenSource(ctx, alice).Token()
					asked <- err
				}
			}
		})
		w.signIn(a)
		time.Sleep(2 * time.Hour)
		w.net.broken.Store(true)
		time.AfterFunc(time.Second, func() { w.net.broken.Store(false) })
		began := time.Now()
		a.token(t)
		require.Less(t, time.Since(began), 5*time.Second)
		require.NoError(t, <-asked)
		synctest.Wait()
	},
}

// recording remembers the record that was written last.
type recording struct {
	core.GrantStore
	last *core.Record
}

func (s recording) CommitGrant(ctx context.Context, key, old string, r core.Record) error {
	*s.last = r
	return s.GrantStore.CommitGrant(ctx, key, old, r)
}

type panicHandler struct{ slog.Handler }

func (panicHandler) Enabled(context.Context, slog.Level) bool { return true }

func (panicHandler) Handle(context.Context, slog.Record) error {
	panic(errors.New("a bug of the logger"))
}

// panicTransport answers with a body that cannot be read.
type panicTransport struct{}

func (panicTransport) SendsOnce() bool { return true }

func (panicTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Request: r, Header: http.Header{}, Body: io.NopCloser(io.MultiReader(strings.NewReader("{"), panicReader{}))}, nil
}

type panicReader struct{}

func (panicReader) Read([]byte) (int, error) { panic(errors.New("a bug of the transport")) }
