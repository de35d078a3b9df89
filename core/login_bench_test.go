package core

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// cannedMusixmatch answers without a network, so that what is measured is ours.
type cannedMusixmatch struct{}

func (cannedMusixmatch) SendsOnce() bool { return true }

func (cannedMusixmatch) RoundTrip(r *http.Request) (*http.Response, error) {
	body := `{"active":true,"sub":"mxm:100000000000000000001"}`
	if strings.HasSuffix(r.URL.Path, "/token") {
		body = `{"access_token":"at","token_type":"Bearer","expires_in":3600,"refresh_token":"rt","scope":"profile email"}`
	}
	return &http.Response{
		StatusCode: http.StatusOK, Request: r, Body: io.NopCloser(strings.NewReader(body)),
		Header: http.Header{"Content-Type": {"application/json"}, "Date": {"Mon, 23 Nov 2026 10:00:00 GMT"}},
	}, nil
}

func routeOf(a *Auth, path string) func(http.ResponseWriter, *http.Request) error {
	for _, r := range a.Routes() {
		if strings.HasSuffix(r.Path, path) {
			return r.Serve
		}
	}
	return nil
}

func BenchmarkLogin(b *testing.B) {
	a := newTestAuth(b, nil)
	login := routeOf(a, "/login")
	r := httptest.NewRequest(http.MethodGet, "/auth/musixmatch/login?return_to=/me", nil)
	b.ReportAllocs()
	for b.Loop() {
		w := &discardWriter{header: http.Header{}}
		if err := login(w, r); err != nil || w.header.Get("Location") == "" {
			b.Fatal(err)
		}
	}
}

// A callback claims, exchanges, introspects, stores the grant and renews the
// session; the login before it is not measured.
func BenchmarkCallback(b *testing.B) {
	a := newTestAuth(b, func(c *Config) { c.HTTPClient = &http.Client{Transport: cannedMusixmatch{}} })
	login, callback := routeOf(a, "/login"), routeOf(a, "/callback")
	requests := make([]*http.Request, b.N)
	for i := range requests {
		w := httptest.NewRecorder()
		require.NoError(b, login(w, httptest.NewRequest(http.MethodGet, "/auth/musixmatch/login", nil)))
		location, err := url.Parse(w.Header().Get("Location"))
		require.NoError(b, err)
		requests[i] = httptest.NewRequest(http.MethodGet, "/auth/musixmatch/callback?code=c&state="+location.Query().Get("state"), nil)
		requests[i].Header.Set("Cookie", strings.Split(w.Header().Get("Set-Cookie"), ";")[0])
	}
	b.ReportAllocs()
	b.ResetTimer()
	for _, r := range requests {
		w := &discardWriter{header: http.Header{}}
		if err := callback(w, r); err != nil || len(w.header["Set-Cookie"]) != 2 {
			b.Fatal(err)
		}
	}
}
