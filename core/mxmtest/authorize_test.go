package mxmtest_test

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

func TestAuthorizeRefusesWithRedirect(t *testing.T) {
	set := func(name, value string) func(url.Values) {
		return func(q url.Values) { q.Set(name, value) }
	}
	del := func(names ...string) func(url.Values) {
		return func(q url.Values) {
			for _, name := range names {
				q.Del(name)
			}
		}
	}
	for name, c := range map[string]struct {
		edit func(url.Values)
		code string
	}{
		"no response_type":     {del("response_type"), "invalid_request"},
		"implicit":             {set("response_type", "token"), "unsupported_response_type"},
		"no scope":             {del("scope"), "invalid_scope"},
		"half the scope":       {set("scope", "profile"), "invalid_scope"},
		"malformed scope":      {set("scope", "profile  email"), "invalid_scope"},
		"no state":             {del("state"), "invalid_request"},
		"plain by default":     {del("code_challenge_method"), "invalid_request"},
		"plain":                {set("code_challenge_method", "plain"), "invalid_request"},
		"method only":          {del("code_challenge"), "invalid_request"},
		"short challenge":      {set("code_challenge", "abc"), "invalid_request"},
		"padded challenge":     {set("code_challenge", strings.Repeat("a", 42)+"="), "invalid_request"},
		"repeated scope":       {func(q url.Values) { q.Add("scope", "profile email") }, "invalid_request"},
		"repeated state":       {func(q url.Values) { q.Add("state", "another") }, "invalid_request"},
		"repeated unknown one": {func(q url.Values) { q["x"] = []string{"1", "2"} }, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			f.SignInAs(ada)
			query := authorizeQuery()
			c.edit(query)
			got := f.back(f.get("/oauth/authorize?" + query.Encode()))
			require.Equal(t, c.code, got.Get("error"))
			require.False(t, got.Has("code"))
			require.Equal(t, c.code, f.last().Outcome)
			if len(query["state"]) == 1 {
				require.Equal(t, query["state"], got["state"])
			} else {
				require.False(t, got.Has("state"))
			}
		})
	}
}

// RFC 6749 4.1.2.1: as long as client and redirect URI are in doubt, nobody is
// redirected.
func TestAuthorizeRefusesWithPage(t *testing.T) {
	for name, edit := range map[string]func(url.Values){
		"no client":             func(q url.Values) { q.Del("client_id") },
		"unknown client":        func(q url.Values) { q.Set("client_id", "x") },
		"repeated client":       func(q url.Values) { q.Add("client_id", mxmtest.DefaultClientID) },
		"no redirect URI":       func(q url.Values) { q.Del("redirect_uri") },
		"redirect URI and more": func(q url.Values) { q.Set("redirect_uri", callback+"/") },
		"repeated redirect URI": func(q url.Values) { q.Add("redirect_uri", callback) },
		"another's redirect":    func(q url.Values) { q.Set("redirect_uri", "https://other.example/") },
		"secret in the URL":     func(q url.Values) { q.Set("client_secret", mxmtest.DefaultClientSecret) },
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			f.AddClient("other", "secret", "https://other.example/")
			f.SignInAs(ada)
			query := authorizeQuery()
			edit(query)
			a := f.get("/oauth/authorize?" + query.Encode())
			require.Equal(t, http.StatusBadRequest, a.status)
			require.Empty(t, a.header.Get("Location"))
			require.Contains(t, a.header.Get("Content-Type"), "text/html")
			require.Contains(t, a.header.Get("Content-Security-Policy"), "default-src 'none'")
			require.NotContains(t, a.body, mxmtest.DefaultClientSecret)
		})
	}
	f := start(t)
	require.Equal(t, http.StatusBadRequest, f.get("/oauth/authorize?"+authorizeQuery().Encode()+"&x=%zz").status)
}

func TestAuthorizeMethod(t *testing.T) {
	f := start(t)
	for _, method := range []string{"POST", "HEAD", "PUT"} {
		a := f.do(method, "/oauth/authorize?"+authorizeQuery().Encode(), "")
		require.Equal(t, http.StatusMethodNotAllowed, a.status)
		require.Equal(t, "GET", a.header.Get("Allow"))
	}
}

func TestAuthorizeAnswers(t *testing.T) {
	f := start(t)
	f.SignInAs(ben)
	a := f.get("/oauth/authorize?" + authorizeQuery().Encode())
	got := f.back(a)
	require.NotEmpty(t, got.Get("code"))
	require.Equal(t, "a state", got.Get("state"))
	require.Len(t, got, 2)
	require.Equal(t, "no-store", a.header.Get("Cache-Control"))

	f.Deny()
	got = f.back(f.get("/oauth/authorize?" + authorizeQuery().Encode()))
	require.Equal(t, form("error", "access_denied", "state", "a state"), got)
	require.Equal(t, "access_denied", f.last().Outcome)

	f.Configure(func(c *mxmtest.Settings) { c.Issuer = true })
	got = f.back(f.get("/oauth/authorize?" + authorizeQuery().Encode()))
	require.Equal(t, f.URL, got.Get("iss"))
}

// RFC 6749 3.1.2: the query of a redirect URI is kept.
func TestRedirectURIQueryIsKept(t *testing.T) {
	f := start(t)
	f.AddClient(mxmtest.DefaultClientID, mxmtest.DefaultClientSecret, callback+"?tenant=1")
	query := authorizeQuery()
	query.Set("redirect_uri", callback+"?tenant=1")
	f.SignInAs(ada)
	got := f.back(f.get("/oauth/authorize?" + query.Encode()))
	require.Equal(t, "1", got.Get("tenant"))
	require.NotEmpty(t, got.Get("code"))
}

func TestSignInPage(t *testing.T) {
	f := start(t)
	f.AddUser("mxm:100000000000000000009", "<b>Zoë</b>")
	a := f.get("/oauth/authorize?" + authorizeQuery().Encode())
	require.Equal(t, http.StatusOK, a.status)
	require.Equal(t, "page", f.last().Outcome)
	require.Contains(t, a.body, "Fake Musixmatch")
	require.Contains(t, a.body, ada)
	require.Contains(t, a.body, "&lt;b&gt;Zoë")
	policy := a.header.Get("Content-Security-Policy")
	require.Contains(t, policy, "default-src 'none'")
	require.Contains(t, policy, "form-action 'self' https://app.example;")
	require.NotContains(t, policy, "unsafe-inline")
	require.NotContains(t, a.body, "<script")

	hidden := regexp.MustCompile(`name="request" value="([^"]*)"`).FindStringSubmatch(a.body)
	require.NotNil(t, hidden)
	action := regexp.MustCompile(`action="([^"]*)"`).FindStringSubmatch(a.body)
	request := html.UnescapeString(hidden[1])
	send := func(pairs ...string) answer {
		return f.post(action[1], form(append(pairs, "request", request)...))
	}
	require.NotEmpty(t, f.back(send("decision", "allow", "user", ben)).Get("code"))
	require.Equal(t, ben, f.last().UserID)
	require.Equal(t, "access_denied", f.back(send("decision", "deny", "user", ben)).Get("error"))

	require.Equal(t, http.StatusBadRequest, send("decision", "allow", "user", "mxm:999999999999999999999").status)
	require.Equal(t, http.StatusBadRequest, send("decision", "", "user", ben).status)
	require.Equal(t, http.StatusMethodNotAllowed, f.get(action[1]).status)
	request = strings.Replace(request, url.QueryEscape(callback), url.QueryEscape("https://evil.example/"), 1)
	require.Equal(t, http.StatusBadRequest, send("decision", "allow", "user", ben).status)
}
