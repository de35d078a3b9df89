package core_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// recorder is a base transport that answers by itself and keeps what it got.
type recorder struct {
	mu     sync.Mutex
	got    []*http.Request
	answer func(*http.Request) *http.Response
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if req.Body != nil {
		io.Copy(io.Discard, req.Body)
		req.Body.Close()
	}
	r.got = append(r.got, req)
	return r.answer(req), nil
}

// SendsOnce implements what core asks of a transport that is not net/http's.
func (r *recorder) SendsOnce() bool { return true }

func answer(req *http.Request, status int, header ...string) *http.Response {
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader("body")), Request: req}
}

func (w *world) whoami(i *instance) (*http.Response, error) {
	return i.Client(w.t.Context(), alice).Get(w.srv.APIURL() + "/whoami")
}

func (w *world) status(i *instance) int {
	w.t.Helper()
	resp, err := w.whoami(i)
	require.NoError(w.t, err)
	resp.Body.Close()
	return resp.StatusCode
}

func TestClientHeals401(t *testing.T) {
	tests := map[string]func(t *testing.T, w *world){
		"the stored token is newer: no refresh": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			b.token(t)
			w.srv.ExpireAccessTokens(alice)
			require.Equal(t, 200, w.status(a))
			w.srv.ResetRequests()
			resp, err := w.whoami(b) // its cache holds the dead one
			require.NoError(t, err)
			resp.Body.Close()
			require.Equal(t, 200, resp.StatusCode)
			require.Empty(t, resp.Request.Header.Get("Authorization"), "of the repeated request")
			require.Empty(t, w.refreshes())
		},
		"inactive: one refresh for all calls": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			w.srv.ExpireAccessTokens(alice)
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() { require.Equal(t, 200, w.status(a)) })
			}
			wg.Wait()
			w.unharmed(1, a)
		},
		"active: the 401 is about something else": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			w.srv.Fail(mxmtest.API, mxmtest.Status(401, `{"mine":1}`, 0))
			resp, err := w.whoami(a)
			require.NoError(t, err)
			require.Equal(t, 401, resp.StatusCode)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.JSONEq(t, `{"mine":1}`, string(body))
			require.Empty(t, w.refreshes())
			require.Equal(t, 200, w.status(a))
		},
		"token-metadata does not know a new token yet: the 401 is handed over": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			untilDue()
			w.srv.Configure(func(s *mxmtest.Settings) { s.BirthLag = 10 * time.Second })
			a.token(t)
			synctest.Wait()
			w.srv.ResetRequests()
			w.srv.Fail(mxmtest.API, mxmtest.Status(401, `{}`, 0), mxmtest.Always())
			for range 20 {
				require.Equal(t, 401, w.status(a))
				time.Sleep(time.Second)
			}
			require.Empty(t, w.refreshes())
		},
		"nobody can say: the 401 is handed over": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			w.srv.ExpireAccessTokens(alice)
			w.srv.Fail(mxmtest.Metadata, mxmtest.Status(503, "", 0), mxmtest.Always())
			require.Equal(t, 401, w.status(a))
			require.Empty(t, w.refreshes())
		},
		"one retry": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			w.srv.ExpireAccessTokens(alice)
			w.srv.Fail(mxmtest.API, mxmtest.Status(401, `{}`, 0), mxmtest.Always())
			require.Equal(t, 401, w.status(a))
			require.Len(t, w.refreshes(), 1)
			calls := 0
			for _, r := range w.srv.Requests() {
				if r.Endpoint == mxmtest.API {
					calls++
				}
			}
			require.Equal(t, 2, calls)
		},
		"403 and 500 never refresh": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			w.srv.ExpireAccessTokens(alice)
			for _, status := range []int{403, 500} {
				w.srv.Fail(mxmtest.API, mxmtest.Status(status, `{}`, 0))
				require.Equal(t, status, w.status(a))
			}
			require.Empty(t, w.refreshes())
		},
		"a token known to be dead is served to nobody": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			w.srv.ExpireAccessTokens(alice)
			w.srv.Fail(mxmtest.Token, mxmtest.DropRequest)
			_, err := w.whoami(a)
			require.ErrorIs(t, err, core.ErrUnavailable)
			require.ErrorIs(t, a.tokenErr(t, time.Second), core.ErrUnavailable)
			time.Sleep(3 * settle)
			w.unharmed(2, a)
		},
		"revoked": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			w.srv.Revoke(alice)
			_, err := w.whoami(a)
			require.ErrorIs(t, err, core.ErrReconnect)
			var e *core.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, 401, e.StatusCode())
			_, err = w.whoami(a)
			require.ErrorIs(t, err, core.ErrReconnect)
			w.lost("revoked", 1, a)
		},
		"nobody is signed in": func(t *testing.T, w *world) {
			a := w.start()
			_, err := a.Client(t.Context(), "").Get(w.srv.APIURL() + "/whoami")
			require.ErrorIs(t, err, core.ErrNotSignedIn)
		},
		"no grant": func(t *testing.T, w *world) {
			a := w.start()
			_, err := w.whoami(a)
			require.ErrorIs(t, err, core.ErrReconnect)
			require.Empty(t, a.kinds(core.EventReconnect))
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { inBubble(t, test) })
	}
}

func TestClientReplaysBodies(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.start()
		w.signIn(a)
		client := a.Client(t.Context(), alice)

		w.srv.ExpireAccessTokens(alice)
		resp, err := client.Post(w.srv.APIURL()+"/whoami", "text/plain", strings.NewReader("lyrics")) // has GetBody
		require.NoError(t, err)
		resp.Body.Close()
		require.NotEqual(t, 401, resp.StatusCode)
		var bodies []string
		for _, call := range w.srv.Requests() { // the refresh and its verification are among them
			if call.Endpoint == mxmtest.API {
				bodies = append(bodies, string(call.Body))
			}
		}
		require.Equal(t, []string{"lyrics", "lyrics"}, bodies)

		synctest.Wait() // for the probe of the new token
		w.srv.ExpireAccessTokens(alice)
		w.srv.ResetRequests()
		resp, err = client.Post(w.srv.APIURL()+"/whoami", "text/plain", io.MultiReader(strings.NewReader("lyrics")))
		require.ErrorIs(t, err, core.ErrUnavailable)
		require.Nil(t, resp)
		require.Len(t, w.refreshes(), 1, "the next call has a good token")
		require.Equal(t, 200, w.status(a))
	})
}

func TestTokensGoNowhereElse(t *testing.T) {
	for name, c := range map[string]struct {
		target string
		sent   bool
	}{
		"configured":         {"https://varco-x.example/claim", true},
		"musixmatch.com":     {"https://musixmatch.com/x", true},
		"below":              {"https://api.musixmatch.com/ws", true},
		"upper case":         {"https://API.Musixmatch.COM/ws", true},
		"default port":       {"https://varco-x.example:443/claim", true},
		"http":               {"http://api.musixmatch.com/ws", false},
		"suffix":             {"https://evilmusixmatch.com/", false},
		"prefix":             {"https://musixmatch.com.evil.example/", false},
		"other port":         {"https://varco-x.example:8443/", false},
		"http of configured": {"http://varco-x.example/claim", false},
		"userinfo":           {"https://api.musixmatch.com@evil.example/", false},
		"below a configured": {"https://a.varco-x.example/", false},
		"trailing dot":       {"https://varco-x.example./", false},
		"IPv6 zone":          {"https://[fe80::1%25.musixmatch.com]/", false},
		"IPv6":               {"https://[::1]/", false},
	} {
		for _, redirected := range []bool{false, true} {
			if redirected {
				name += ", redirected"
			}
			t.Run(name, func(t *testing.T) {
				inBubble(t, func(t *testing.T, w *world) {
					rec := &recorder{}
					a := w.start()
					w.signIn(a)
					b := w.start(func(cfg *core.Config) {
						cfg.HTTPClient = &http.Client{Transport: rec}
						cfg.APIOrigins = []string{"https://varco-x.example"}
					})
					rec.answer = func(req *http.Request) *http.Response {
						if redirected && req.URL.Path == "/start" {
							return answer(req, 307, "Location", c.target)
						}
						return answer(req, 200)
					}
					first := c.target
					if redirected {
						first = "https://varco-x.example/start"
					}
					resp, err := b.Client(t.Context(), alice).Post(first, "text/plain", strings.NewReader("lyrics"))
					if c.sent {
						require.NoError(t, err)
						resp.Body.Close()
					} else {
						var e *core.Error
						require.ErrorAs(t, err, &e)
						require.Equal(t, 500, e.StatusCode())
					}
					for _, req := range rec.got {
						if req.URL.Path != "/oauth/token" && req.URL.Path != "/oauth/token-metadata" {
							require.Equal(t, "Bearer "+w.life().AccessToken, req.Header.Get("Authorization"))
							require.True(t, req.URL.Path == "/start" || c.sent, "sent to %s", req.URL)
						}
					}
				})
			})
		}
	}
}

// The caller's request must not be changed (http.RoundTripper), and every body
// is closed.
func TestClientLeavesTheRequestAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.start()
		w.signIn(a)
		for _, target := range []string{w.srv.APIURL() + "/whoami", "https://evil.example/"} {
			body := &closing{Reader: bytes.NewReader([]byte("x"))}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, body)
			require.NoError(t, err)
			resp, err := a.Client(t.Context(), alice).Transport.RoundTrip(req)
			if err == nil {
				resp.Body.Close()
				require.Same(t, req, resp.Request, "what is printed of the answer has no token")
			}
			synctest.Wait()
			require.Empty(t, req.Header.Get("Authorization"))
			require.True(t, body.closed.Load(), target)
		}
	})
}

func TestPatience(t *testing.T) {
	tests := map[string]func(t *testing.T, w *world){
		"ten seconds without a deadline": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			time.Sleep(2 * time.Hour)
			w.srv.Fail(mxmtest.Token, mxmtest.SlowResponse(20*time.Second))
			began := time.Now()
			_, err := a.TokenSource(t.Context(), alice).Token()
			require.ErrorIs(t, err, core.ErrUnavailable)
			require.Equal(t, 10*time.Second, time.Since(began))
			time.Sleep(lease)
			w.unharmed(1, a)
		},
		"the caller's deadline": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			time.Sleep(2 * time.Hour)
			w.srv.Fail(mxmtest.Token, mxmtest.SlowResponse(20*time.Second))
			require.NoError(t, a.tokenErr(t, time.Minute))
			w.unharmed(1, a)
		},
		"a token that lives is better than none": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			first := a.token(t)
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.SlowRequest(20*time.Second))
			began := time.Now()
			require.Equal(t, first, a.token(t))
			require.Equal(t, 10*time.Second, time.Since(began))
			time.Sleep(lease)
			w.unharmed(1, a)
		},
		"either context of a client": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			time.Sleep(2 * time.Hour)
			w.srv.Fail(mxmtest.Token, mxmtest.SlowResponse(20*time.Second))
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			began := time.Now()
			_, err := a.Client(ctx, alice).Get(w.srv.APIURL() + "/whoami")
			require.ErrorIs(t, err, core.ErrUnavailable)
			var u *url.Error
			require.ErrorAs(t, err, &u)
			require.Equal(t, 2*time.Second, time.Since(began))
			time.Sleep(lease)
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { inBubble(t, test) })
	}
}

func TestVerify(t *testing.T) {
	tests := map[string]func(t *testing.T, w *world){
		"alive": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			require.NoError(t, a.Verify(t.Context(), alice))
			require.Empty(t, w.refreshes())
		},
		"killed by a sibling's refresh": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			b.token(t)
			w.srv.ExpireAccessTokens(alice)
			require.Equal(t, 200, w.status(a))
			w.srv.ResetRequests()
			require.NoError(t, b.Verify(t.Context(), alice))
			require.Empty(t, w.refreshes())
		},
		"revoked": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			w.srv.Revoke(alice)
			require.ErrorIs(t, a.Verify(t.Context(), alice), core.ErrReconnect)
			w.lost("revoked", 1, a)
		},
		"unavailable": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			w.srv.Fail(mxmtest.Metadata, mxmtest.HTML(502), mxmtest.Always())
			require.ErrorIs(t, a.Verify(t.Context(), alice), core.ErrUnavailable)
		},
		"another user's": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			w.srv.Fail(mxmtest.Metadata, mxmtest.SetField("sub", `"mxm:200000000000000000002"`))
			require.ErrorIs(t, a.Verify(t.Context(), alice), core.ErrReconnect)
			w.lost("sub_changed", 0, a)
		},
		"another user's, with a store that fails": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			w.srv.Fail(mxmtest.Metadata, mxmtest.SetField("sub", `"mxm:200000000000000000002"`))
			a.store.watch(func(c storeCall) error {
				if c.op == "commit" {
					return errStoreDown
				}
				return c.do()
			})
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			asked := time.Now()
			require.ErrorIs(t, a.Verify(ctx, alice), core.ErrReconnect)
			require.LessOrEqual(t, time.Since(asked), 20*time.Second, "no longer than the caller waits")
			a.store.watch(nil)
			time.Sleep(time.Minute)
			w.lost("sub_changed", 0, a)
		},
		"nobody": func(t *testing.T, w *world) {
			a := w.start()
			require.ErrorIs(t, a.Verify(t.Context(), alice), core.ErrReconnect)
			require.ErrorIs(t, a.Verify(t.Context(), ""), core.ErrNotSignedIn)
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { inBubble(t, test) })
	}
}

type closing struct {
	io.Reader
	closed atomic.Bool
}

func (c *closing) Close() error { c.closed.Store(true); return nil }
