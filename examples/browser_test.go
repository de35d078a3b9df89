package examples_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

const (
	ada = "mxm:100000000000000000001"
	ben = "mxm:100000000000000000002"

	sessionCookie = "mxm_session" // on http, without the prefix
)

// live returns the environment of an app that works with a fake Musixmatch in
// the test, whose books can be read.
func live(srv *mxmtest.Server, env ...string) []string {
	return append([]string{
		"MXM_CLIENT_ID=" + mxmtest.DefaultClientID,
		"MXM_CLIENT_SECRET=" + mxmtest.DefaultClientSecret,
		"MXM_BASE_URL=" + srv.URL,
		"MXM_API_URL=" + srv.APIURL(),
	}, env...)
}

// startDemo starts a demo app at srv, where its callback is registered.
func startDemo(t testing.TB, name string, srv *mxmtest.Server, env ...string) *process {
	t.Helper()
	p := start(t, name, live(srv, env...)...)
	srv.Config(p.URL)
	return p
}

func newServer(t testing.TB) *mxmtest.Server {
	t.Helper()
	srv := mxmtest.NewServer()
	t.Cleanup(srv.Close)
	srv.SignInAs(ada)
	return srv
}

// browser is a client with cookies that shows each redirect.
func browser(t testing.TB) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 64
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Jar: jar, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func get(t testing.TB, c *http.Client, url string) answer {
	t.Helper()
	res, err := c.Get(url)
	return read(t, res, err)
}

// navigate asks as a person's click does.
func navigate(t testing.TB, c *http.Client, url string) answer {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	require.NoError(t, err)
	req.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	res, err := c.Do(req)
	return read(t, res, err)
}

// post sends a form as the app's own page does.
func post(t testing.TB, c *http.Client, target string, fields ...string) answer {
	t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	req, err := http.NewRequest(http.MethodPost, target, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	res, err := c.Do(req)
	return read(t, res, err)
}

// authorize goes to the login and to Musixmatch, and returns the callback's URL.
func authorize(t testing.TB, c *http.Client, loginURL string) string {
	t.Helper()
	res := get(t, c, loginURL)
	require.Equal(t, http.StatusSeeOther, res.StatusCode, res.body)
	res = get(t, c, res.Header.Get("Location"))
	require.Equal(t, http.StatusSeeOther, res.StatusCode, res.body)
	return res.Header.Get("Location")
}

// signIn signs a browser in as whom the fake lets in.
func signIn(t testing.TB, c *http.Client, appURL string) {
	t.Helper()
	res := get(t, c, authorize(t, c, appURL+"/auth/musixmatch/login"))
	require.Equal(t, http.StatusSeeOther, res.StatusCode, res.body)
	require.Equal(t, "/", res.Header.Get("Location"))
}

// refreshes returns the refresh requests that reached srv.
func refreshes(srv *mxmtest.Server) (posts []mxmtest.Request) {
	for _, r := range srv.Requests() {
		if r.Endpoint == mxmtest.Token && r.GrantType == "refresh_token" {
			posts = append(posts, r)
		}
	}
	return posts
}
