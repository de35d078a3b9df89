package core

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
	"github.com/stretchr/testify/require"
)

// canned is a server that always answers the same.
type canned struct {
	status int
	header http.Header
	body   string
}

func (canned) SendsOnce() bool { return true }

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: c.status, Header: c.header, Body: io.NopCloser(strings.NewReader(c.body)), Request: r}, nil
}

// A document is believed if it is of the issuer that was asked, and sends
// nobody to plain http.
func FuzzDiscovery(f *testing.F) {
	for _, seed := range []string{
		`{"issuer":"https://connect.example","token_endpoint":"https://connect.example/t","authorization_response_iss_parameter_supported":true}`,
		`{"issuer":"https://connect.example","authorization_endpoint":"http://evil.example/"}`,
		`{"issuer":"https://connect.example/"}`, `{"issuer":"https://connect.example","revocation_endpoint":"//x"}`, `[]`, `null`, ``,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		e, err := Discover(t.Context(), "https://connect.example", &http.Client{Transport: canned{status: 200, body: body}})
		if err != nil {
			require.LessOrEqual(t, len(err.Error()), 500)
			return
		}
		require.Equal(t, "https://connect.example", e.Issuer)
		for _, raw := range []string{e.AuthURL, e.TokenURL, e.RevocationURL} {
			if raw == "" {
				continue
			}
			u, err := url.Parse(raw)
			require.NoError(t, err)
			require.True(t, u.Scheme == "https" || u.Scheme == "http" && musixmatch.IsLoopback(u.Hostname()), raw)
			require.NotEmpty(t, u.Hostname())
			require.Nil(t, u.User)
			require.Empty(t, u.RawQuery+u.Fragment)
		}
		c := validConfig()
		c.BaseURL, c.Endpoint = "https://connect.example", e
		_, err = New(c)
		require.NoError(t, err, "what Discover returns, New takes")
	})
}

// Whatever a browser asks to come back to, it stays on this site, outside our
// routes, or goes to a trusted origin.
func FuzzReturnTo(f *testing.F) {
	for _, seed := range append(leavingPaths, "/", "/app/me?x=1", "https://spa.example/x", "https://spa.example.evil.example/",
		"https://app.example/app/auth/login", "/app/auth/%6cogin", "/app/x/../auth/callback?code=1", "https://app.examplehttps://evil.org") {
		f.Add(seed)
	}
	c := validConfig()
	c.RedirectURL, c.PathPrefix, c.AfterLogin = "https://app.example/app/auth/callback", "/app", "/home"
	c.TrustedOrigins = []string{"https://spa.example"}
	a, err := New(c)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, raw string) {
		got := a.returnTo(raw)
		require.Contains(t, []string{"app.example", "spa.example"}, browserHost(got), "%q became %q", raw, got)
		require.Equal(t, got, a.returnTo(got), "asked again at use")
		if u, err := url.Parse(got); err == nil && u.Host == "" {
			require.False(t, strings.HasPrefix(u.Path, "/app/auth/") || u.Path == "/app/auth", got)
		}
		// What a page was asked for is where it is come back to.
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RequestURI = raw
		back, err := url.Parse(a.LoginURL(a.requestedPath(r)))
		require.NoError(t, err)
		require.Equal(t, "/app/auth/login", back.Path)
		require.Contains(t, []string{"app.example", "spa.example"}, browserHost(a.returnTo(back.Query().Get("return_to"))))
	})
}
