package core_test

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
)

// wire counts what leaves this process: the connections, and the POSTs on them.
type wire struct {
	mu    sync.Mutex
	conns int
	posts int
}

func (w *wire) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := new(net.Dialer).DialContext(ctx, network, addr)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns++
	return wiredConn{c, w}, err
}

func (w *wire) counts() (conns, posts int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conns, w.posts
}

type wiredConn struct {
	net.Conn
	w *wire
}

func (c wiredConn) Write(p []byte) (int, error) {
	c.w.mu.Lock()
	c.w.posts += strings.Count(string(p), "POST /oauth/token HTTP/1.1\r\n")
	c.w.mu.Unlock()
	return c.Conn.Write(p)
}

// P4: one refresh is one POST, on a connection of its own, whatever the server
// does with it and whatever net/http would like to repeat.
func TestExactlyOnePOST(t *testing.T) {
	cut := func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }
	stale := func(w http.ResponseWriter, r *http.Request) {
		// A keep-alive connection that the server has closed by the time of the
		// next request: what makes EOF ambiguous, and net/http try again.
		c, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			c.Close()
		}
	}
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic("the form went elsewhere")
	}))
	defer evil.Close()
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		start  func(*httptest.Server)
	}{
		"cut":              {cut, (*httptest.Server).Start},
		"stale keep-alive": {stale, (*httptest.Server).Start},
		"500":              {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, (*httptest.Server).Start},
		"307": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, evil.URL, http.StatusTemporaryRedirect)
		}, (*httptest.Server).Start},
		"TLS":                    {cut, (*httptest.Server).StartTLS},
		"HTTP/2 offered":         {cut, func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() }},
		"HTTP/2 offered, and ok": {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{}`) }, func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var got []*http.Request
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.ParseForm()
				mu.Lock()
				got = append(got, r)
				mu.Unlock()
				c.answer(w, r)
			}))
			srv.Config.ErrorLog = log.New(io.Discard, "", 0)
			c.start(srv)
			defer srv.Close()

			var w wire
			a, err := core.New(core.Config{
				ClientID: "client", ClientSecret: "secret", RedirectURL: "http://127.0.0.1/auth/callback",
				BaseURL: srv.URL, RefreshTimeout: 4 * time.Second, Logger: slog.New(slog.DiscardHandler),
				HTTPClient: &http.Client{Transport: &http.Transport{
					DialContext: w.dial, ForceAttemptHTTP2: true,
					TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
				}},
			})
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second) // less than a settle
			defer cancel()
			_, err = a.Import(ctx, "the-refresh-token")
			require.ErrorIs(t, err, core.ErrUnavailable)
			require.NoError(t, a.Close(t.Context()), "a flight in doubt only waits")

			conns, posts := w.counts()
			require.Equal(t, 1, conns)
			if srv.TLS == nil {
				require.Equal(t, 1, posts)
			}
			mu.Lock()
			defer mu.Unlock()
			require.Len(t, got, 1)
			r := got[0]
			require.Equal(t, "HTTP/1.1", r.Proto)
			require.Equal(t, "refresh_token", r.PostForm.Get("grant_type"))
			require.Equal(t, "the-refresh-token", r.PostForm.Get("refresh_token"))
			require.Equal(t, "client", r.PostForm.Get("client_id"))
			require.Equal(t, "secret", r.PostForm.Get("client_secret"))
			require.Empty(t, r.URL.RawQuery)
			require.Empty(t, r.Header.Get("Authorization"))
			require.Empty(t, r.Header.Get("Cookie"))
			for _, h := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
				require.NotContains(t, r.Header, h)
			}
			require.True(t, r.Close, "Connection: close")
		})
	}
}
