package core_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
)

// A refresh runs in a goroutine of its own, where nobody recovers: a panic of
// the application's store, transport or OnEvent must neither end the process nor
// cost a grant.
func TestPanicsOfTheApplication(t *testing.T) {
	for name, at := range map[string]storeCall{
		"find":             {op: "find", n: 1},
		"intent":           {op: "commit", n: 1},
		"tokens":           {op: "commit", n: 2},
		"tokens, a second": {op: "commit", n: 3},
	} {
		t.Run("store, "+name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				a := w.start()
				w.signIn(a)
				untilDue()
				a.store.watch(func(c storeCall) error {
					if c.op == at.op && (c.n == at.n || at.n == 3 && c.n == 2) {
						panic(errors.New("a bug of the store"))
					}
					return c.do()
				})
				a.token(t)
				time.Sleep(time.Minute)
				a.token(t)
				w.unharmed(1, a)
			})
		})
	}
	t.Run("OnEvent", func(t *testing.T) {
		inBubble(t, func(t *testing.T, w *world) {
			a := w.start(func(c *core.Config) {
				c.OnEvent = func(context.Context, core.Event) { panic("a bug of OnEvent") }
			})
			w.signIn(a)
			untilDue()
			failed := false
			a.store.watch(func(c storeCall) error {
				if c.op == "commit" && c.n == 2 && !failed {
					failed = true
					return errStoreDown // reported between the answer and the write
				}
				return c.do()
			})
			a.token(t)
			time.Sleep(time.Minute)
			w.unharmed(1, a)
			require.Contains(t, w.log.text(), "OnEvent")
		})
	})
	t.Run("dialler", func(t *testing.T) {
		inBubble(t, func(t *testing.T, w *world) {
			var armed atomic.Bool
			a := w.start(func(c *core.Config) {
				c.HTTPClient = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
					if armed.CompareAndSwap(true, false) {
						panic("a bug of the dialler")
					}
					return w.net.dial(ctx, network, addr)
				}}}
			})
			w.signIn(a)
			time.Sleep(lease)
			untilDue()
			armed.Store(true)
			a.token(t)
			time.Sleep(time.Minute)
			a.token(t)
			require.False(t, armed.Load())
			w.unharmed(1, a)
		})
	})
	t.Run("logger, app token", func(t *testing.T) {
		inBubble(t, func(t *testing.T, w *world) {
			a := w.start(func(c *core.Config) { c.Logger = slog.New(panicHandler{}) })
			_, err := a.AppTokenSource(t.Context()).Token()
			require.NoError(t, err)
		})
	})
	for name, after := range map[string]bool{"before the server": false, "after the server": true} {
		t.Run("transport, "+name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				rt := &panicking{base: &http.Transport{DialContext: w.net.dial, DisableKeepAlives: true}, after: after}
				a := w.start(func(c *core.Config) { c.HTTPClient = &http.Client{Transport: rt} })
				w.signIn(a)
				untilDue()
				rt.armed.Store(true)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
				defer cancel()
				_, err := a.TokenSource(ctx, alice).Token()
				if !after {
					require.NoError(t, err)
				}
				time.Sleep(5 * time.Minute)
				_, err = a.TokenSource(ctx, alice).Token()
				if after {
					require.ErrorIs(t, err, core.ErrReconnect)
					require.Equal(t, []string{"reconnect lost_response"}, a.kinds(core.EventReconnect))
					return
				}
				require.NoError(t, err)
				w.unharmed(1, a)
			})
		})
	}
}

type panicking struct {
	base  http.RoundTripper
	armed atomic.Bool
	after bool
}

func (p *panicking) SendsOnce() bool { return true }

func (p *panicking) RoundTrip(r *http.Request) (*http.Response, error) {
	boom := r.URL.Path == "/oauth/token" && p.armed.CompareAndSwap(true, false)
	if boom && !p.after {
		panic("a bug of the transport: " + r.URL.Path)
	}
	resp, err := p.base.RoundTrip(r)
	if boom {
		resp.Body.Close()
		panic("a bug of the transport: " + r.URL.Path)
	}
	return resp, err
}
