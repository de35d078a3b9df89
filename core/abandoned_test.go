package core_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/internal/testall"
)

// Thousands of forged callbacks, whose connections close at once, do not keep a
// visitor waiting, and few of them reach Musixmatch.
func TestAbandonedCallbacks(t *testing.T) {
	testall.Long(t)
	const forged = 4000
	mxm := mxmtest.NewServer()
	defer mxm.Close()
	mxm.SignInAs(alice)
	mux := http.NewServeMux()
	site := httptest.NewServer(mux)
	defer site.Close()
	c := mxm.Config(site.URL)
	c.Logger = slog.New(slog.DiscardHandler)
	auth, err := core.New(c)
	require.NoError(t, err)
	defer auth.Close(t.Context())
	for _, route := range auth.Routes() {
		mux.HandleFunc(route.Path, func(w http.ResponseWriter, r *http.Request) {
			if err := route.Serve(w, r); err != nil {
				core.WriteError(w, r, err)
			}
		})
	}
	var requests []string
	for range forged {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, site.URL+auth.LoginURL(""), nil))
		location, err := url.Parse(w.Header().Get("Location"))
		require.NoError(t, err)
		cookie, _, _ := strings.Cut(w.Header().Get("Set-Cookie"), ";")
		requests = append(requests, fmt.Sprintf("GET %s?code=forged&state=%s HTTP/1.1\r\nHost: x\r\nCookie: %s\r\n\r\n",
			mxmtest.CallbackPath, location.Query().Get("state"), cookie))
	}

	mxm.Fail(mxmtest.Token, mxmtest.SlowRequest(200*time.Millisecond), mxmtest.Always())
	for _, request := range requests {
		conn, err := net.Dial("tcp", strings.TrimPrefix(site.URL, "http://"))
		require.NoError(t, err)
		_, err = io.WriteString(conn, request)
		require.NoError(t, err)
		require.NoError(t, conn.Close())
	}
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	visitor := &http.Client{Jar: jar}
	begin := time.Now()
	res, err := visitor.Get(site.URL + auth.LoginURL("")) // follows the redirects, as far as "/"
	require.NoError(t, err)
	res.Body.Close()
	took := time.Since(begin)
	require.Equal(t, "/", res.Request.URL.Path)
	require.NotEmpty(t, mxm.Live(alice), "the visitor has signed in")
	calls := 0
	for _, r := range mxm.Requests() {
		if r.Endpoint == mxmtest.Token {
			calls++
		}
	}
	t.Logf("the visitor signed in within %s, and %d of %d forged codes reached Musixmatch", took, calls-1, forged)
	require.Less(t, took, 2*time.Second)
	require.Less(t, calls, forged/2, "those that still wait leave with their browsers")
}
