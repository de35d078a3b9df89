package core

import (
	"fmt"
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

// What a client can send at most (net/http reads 3,000 cookies) costs hardly more
// than a normal request, apart from what net/http needs to parse the cookies.
func BenchmarkLoginWithManyCookies(b *testing.B) {
	a := newTestAuth(b, nil)
	login := routeOf(a, "/login")
	requests := map[string]*http.Request{"none": nil, "2900": nil}
	for name := range requests {
		requests[name] = httptest.NewRequest(http.MethodGet, "/auth/musixmatch/login?return_to=/me", nil)
	}
	w := &discardWriter{header: http.Header{}}
	require.NoError(b, login(w, requests["none"]))
	requests["2900"].Header.Set("Cookie", strings.Join(variants(w.header.Get("Set-Cookie"), 2900), "; "))
	for name, r := range requests {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				w := &discardWriter{header: http.Header{}}
				if err := login(w, r); err != nil || w.header.Get("Location") == "" {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("2900, net/http alone", func(b *testing.B) {
		for b.Loop() {
			if len(requests["2900"].Cookies()) != 2900 {
				b.Fatal("too many cookies")
			}
		}
	})
}

// variants returns n cookies like the one that set gives to a browser, each for
// a state of its own.
func variants(set string, n int) (cookies []string) {
	name, value, _ := strings.Cut(strings.Split(set, ";")[0], "=")
	for i := range n {
		cookies = append(cookies, fmt.Sprintf("%s%08x=%s", name[:len(name)-8], i, value))
	}
	return cookies
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
