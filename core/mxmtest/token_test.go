package mxmtest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// What is wrong with a token request whatever the grant, and that it costs
// nothing: the refresh token lives.
func TestTokenRefusals(t *testing.T) {
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	basic := func(r *http.Request) { r.SetBasicAuth(mxmtest.DefaultClientID, mxmtest.DefaultClientSecret) }
	for name, c := range map[string]struct {
		form    func(url.Values)
		request func(*http.Request)
		status  int
		code    string
	}{
		"no grant_type":          {form: func(v url.Values) { v.Del("grant_type") }, code: "invalid_request"},
		"empty grant_type":       {form: func(v url.Values) { v.Set("grant_type", "") }, code: "invalid_request"},
		"unknown grant_type":     {form: func(v url.Values) { v.Set("grant_type", "password") }, code: "unsupported_grant_type"},
		"no refresh_token":       {form: func(v url.Values) { v.Del("refresh_token") }, code: "invalid_request"},
		"unknown refresh_token":  {form: func(v url.Values) { v.Set("refresh_token", "x") }, code: "invalid_grant"},
		"forged refresh_token":   {form: func(v url.Values) { v.Set("refresh_token", "rt.1.1.x") }, code: "invalid_grant"},
		"repeated refresh_token": {form: func(v url.Values) { v["refresh_token"] = append(v["refresh_token"], "x") }, code: "invalid_request"},
		"repeated client_id":     {form: func(v url.Values) { v["client_id"] = append(v["client_id"], v["client_id"][0]) }, code: "invalid_request"},
		"more scope":             {form: func(v url.Values) { v.Set("scope", "profile admin") }, code: "invalid_scope"},
		"no client_id":           {form: func(v url.Values) { v.Del("client_id") }, status: 401, code: "invalid_client"},
		"no client_secret":       {form: func(v url.Values) { v.Del("client_secret") }, status: 401, code: "invalid_client"},
		"wrong client_secret":    {form: func(v url.Values) { v.Set("client_secret", "x") }, status: 401, code: "invalid_client"},
		"unknown client":         {form: func(v url.Values) { v.Set("client_id", "x") }, status: 401, code: "invalid_client"},
		"another client":         {form: func(v url.Values) { v.Set("client_id", "other"); v.Set("client_secret", "secret") }, code: "invalid_grant"},
		"basic and body":         {request: basic, code: "invalid_request"},
		"basic":                  {form: func(v url.Values) { v.Del("client_id"); v.Del("client_secret") }, request: basic, status: 401, code: "invalid_client"},
		"no content type":        {request: func(r *http.Request) { r.Header.Del("Content-Type") }, code: "invalid_request"},
		"JSON":                   {request: header("Content-Type", "application/json"), code: "invalid_request"},
		"two content types":      {request: func(r *http.Request) { r.Header.Add("Content-Type", "application/x-www-form-urlencoded") }, code: "invalid_request"},
		"multipart":              {request: header("Content-Type", "multipart/form-data; boundary=x"), code: "invalid_request"},
		"parameters in the URL":  {request: func(r *http.Request) { r.URL.RawQuery = "x=1" }, code: "invalid_request"},
		"GET":                    {request: func(r *http.Request) { r.Method = "GET" }, status: 405, code: "method_not_allowed"},
		"PUT":                    {request: func(r *http.Request) { r.Method = "PUT" }, status: 405, code: "method_not_allowed"},
		"a megabyte":             {form: func(v url.Values) { v.Set("x", strings.Repeat("x", 1<<20)) }, code: "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			f.AddClient("other", "secret")
			login := f.Issue(ada)
			v, request := refreshForm(login.RefreshToken), func(*http.Request) {}
			if c.form != nil {
				c.form(v)
			}
			if c.request != nil {
				request = c.request
			}
			if c.status == 0 {
				c.status = http.StatusBadRequest
			}
			a := f.post("/oauth/token", v, request)
			f.refused(a, c.status, c.code)
			require.True(t, f.IsLive(login.RefreshToken))
			require.True(t, f.IsLive(login.AccessToken))
			switch {
			case c.status == 405:
				require.Equal(t, "POST", a.header.Get("Allow"))
			case name == "basic":
				require.NotEmpty(t, a.header.Get("WWW-Authenticate"))
			}
		})
	}
	f := start(t)
	f.refused(f.do("POST", "/oauth/token", "grant_type=%zz"), http.StatusBadRequest, "invalid_request")
	login := f.Issue(ada)
	f.refused(f.refresh(login.AccessToken), http.StatusBadRequest, "invalid_grant")
	require.True(t, f.IsLive(login.RefreshToken))
	f.AddClient("public", "")
	f.refused(f.post("/oauth/token", form("client_id", "public", "grant_type", "client_credentials")), http.StatusUnauthorized, "invalid_client")
	f.RemoveClient(mxmtest.DefaultClientID)
	f.refused(f.refresh(""), http.StatusUnauthorized, "invalid_client")
}

func TestCodeExchange(t *testing.T) {
	f := start(t)
	code := f.code(authorizeQuery())
	a := f.post("/oauth/token", codeForm(code))
	access, refresh := f.granted(a)
	require.Equal(t, "Bearer", a.field(t, "token_type"))
	require.EqualValues(t, 3600, a.field(t, "expires_in"))
	require.Equal(t, "profile email", a.field(t, "scope"))
	require.Equal(t, []mxmtest.Family{{ID: 1, UserID: ada, ClientID: mxmtest.DefaultClientID, Scope: "profile email",
		AccessToken: access, RefreshToken: refresh}}, f.Live(ada))
	require.Empty(t, f.Live(ben))
}

func TestCodeExchangeRefusals(t *testing.T) {
	withoutPKCE := func() url.Values {
		q := authorizeQuery()
		q.Del("code_challenge")
		q.Del("code_challenge_method")
		return q
	}
	for name, c := range map[string]struct {
		query   func() url.Values
		form    func(url.Values)
		code    string
		unspent bool // the code may still be used
	}{
		"unknown code":               {form: func(v url.Values) { v.Set("code", "x") }, code: "invalid_grant", unspent: true},
		"no code":                    {form: func(v url.Values) { v.Del("code") }, code: "invalid_request", unspent: true},
		"no redirect_uri":            {form: func(v url.Values) { v.Del("redirect_uri") }, code: "invalid_request", unspent: true},
		"another client":             {form: func(v url.Values) { v.Set("client_id", "other"); v.Set("client_secret", "secret") }, code: "invalid_grant", unspent: true},
		"malformed verifier":         {form: func(v url.Values) { v.Set("code_verifier", "short") }, code: "invalid_request", unspent: true},
		"another redirect_uri":       {form: func(v url.Values) { v.Set("redirect_uri", callback+"2") }, code: "invalid_grant"},
		"wrong verifier":             {form: func(v url.Values) { v.Set("code_verifier", verifier+"x") }, code: "invalid_grant"},
		"no verifier":                {form: func(v url.Values) { v.Del("code_verifier") }, code: "invalid_request"},
		"verifier without challenge": {query: withoutPKCE, code: "invalid_grant"},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			f.AddClient("other", "secret", callback)
			f.AddClient(mxmtest.DefaultClientID, mxmtest.DefaultClientSecret, callback+"2")
			if c.query == nil {
				c.query = authorizeQuery
			}
			code := f.code(c.query())
			v := codeForm(code)
			if c.form != nil {
				c.form(v)
			}
			f.refused(f.post("/oauth/token", v), http.StatusBadRequest, c.code)
			require.Empty(t, f.Live(ada))
			again := f.post("/oauth/token", codeForm(code))
			if c.unspent {
				f.granted(again)
			} else {
				f.refused(again, http.StatusBadRequest, "invalid_grant")
				require.True(t, f.last().Spent)
			}
		})
	}
	t.Run("without PKCE", func(t *testing.T) {
		f := start(t)
		v := codeForm(f.code(withoutPKCE()))
		v.Del("code_verifier")
		f.granted(f.post("/oauth/token", v))
	})
}

// RFC 6749 4.1.2: a replay costs the tokens that were issued for the code.
func TestCodeReplay(t *testing.T) {
	f := start(t)
	code := f.code(authorizeQuery())
	_, refresh := f.granted(f.post("/oauth/token", codeForm(code)))
	access, refresh := f.granted(f.refresh(refresh))
	f.refused(f.post("/oauth/token", codeForm(code)), http.StatusBadRequest, "invalid_grant")
	require.True(t, f.last().Spent)
	require.False(t, f.IsLive(access))
	require.False(t, f.IsLive(refresh))
	require.Empty(t, f.Live(ada))
}

func TestLifetimes(t *testing.T) {
	f := start(t)
	f.Configure(func(c *mxmtest.Settings) {
		c.CodeLifetime, c.AccessLifetime, c.RefreshLifetime = 0, 0, 0
	})
	code := f.code(authorizeQuery())
	f.refused(f.post("/oauth/token", codeForm(code)), http.StatusBadRequest, "invalid_grant")
	f.Configure(func(c *mxmtest.Settings) { c.CodeLifetime = time.Minute })
	a := f.post("/oauth/token", codeForm(f.code(authorizeQuery())))
	access, refresh := f.granted(a)
	require.EqualValues(t, 0, a.field(t, "expires_in"))
	require.Equal(t, false, f.introspect(access).field(t, "active"))
	f.refused(f.refresh(refresh), http.StatusBadRequest, "invalid_grant")
	require.False(t, f.last().Spent)
	require.Empty(t, f.Live(ada))
}

func TestRefreshRotates(t *testing.T) {
	f := start(t)
	other := f.Issue(ada)
	first := f.Issue(ada)
	access, refresh := f.granted(f.refresh(first.RefreshToken))
	require.True(t, f.IsLive(access))
	require.True(t, f.IsLive(refresh))
	require.False(t, f.IsLive(first.AccessToken))
	require.False(t, f.IsLive(first.RefreshToken))
	require.Equal(t, false, f.introspect(first.AccessToken).field(t, "active"))
	require.True(t, f.IsLive(other.AccessToken), "another login is not related")
	require.Equal(t, 1, f.Live(ada)[1].Refreshes)
}

func TestReusePolicies(t *testing.T) {
	t.Run("RevokeFamily", func(t *testing.T) {
		f := start(t)
		other, first := f.Issue(ada), f.Issue(ada)
		access, refresh := f.granted(f.refresh(first.RefreshToken))
		f.refused(f.refresh(first.RefreshToken), http.StatusBadRequest, "invalid_grant")
		require.True(t, f.last().Spent)
		require.False(t, f.IsLive(access))
		require.False(t, f.IsLive(refresh))
		require.True(t, f.IsLive(other.RefreshToken))
		require.True(t, f.IsLive(other.AccessToken))
	})
	t.Run("Plain", func(t *testing.T) {
		f := start(t)
		f.Configure(func(c *mxmtest.Settings) { c.Reuse = mxmtest.Plain })
		first := f.Issue(ada)
		access, refresh := f.granted(f.refresh(first.RefreshToken))
		f.refused(f.refresh(first.RefreshToken), http.StatusBadRequest, "invalid_grant")
		require.True(t, f.last().Spent)
		require.True(t, f.IsLive(access))
		require.True(t, f.IsLive(refresh))
	})
	t.Run("Grace", func(t *testing.T) {
		f := start(t)
		f.Configure(func(c *mxmtest.Settings) { c.Grace = time.Hour })
		first := f.Issue(ada)
		access, refresh := f.granted(f.refresh(first.RefreshToken))
		again, same := f.granted(f.refresh(first.RefreshToken))
		require.True(t, f.last().Spent)
		require.Equal(t, access, again)
		require.Equal(t, refresh, same)

		f.ExpireAccessTokens(ada)
		again, same = f.granted(f.refresh(first.RefreshToken))
		require.NotEqual(t, access, again)
		require.True(t, f.IsLive(again))
		require.Equal(t, refresh, same)

		_, third := f.granted(f.refresh(refresh))
		f.refused(f.refresh(first.RefreshToken), http.StatusBadRequest, "invalid_grant")
		require.False(t, f.IsLive(third), "not the newest spent one: no grace")
	})
	t.Run("Grace is over", func(t *testing.T) {
		f := start(t)
		f.Configure(func(c *mxmtest.Settings) { c.Grace = time.Nanosecond })
		first := f.Issue(ada)
		_, refresh := f.granted(f.refresh(first.RefreshToken))
		f.refused(f.refresh(first.RefreshToken), http.StatusBadRequest, "invalid_grant")
		require.False(t, f.IsLive(refresh))
	})
}

func TestKillScopes(t *testing.T) {
	for name, c := range map[string]struct {
		scope                        mxmtest.KillScope
		own, otherLogin, otherClient bool
	}{
		"PerLogin": {mxmtest.PerLogin, false, true, true},
		"PerUser":  {mxmtest.PerUser, false, false, true},
		"KillNone": {mxmtest.KillNone, true, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			f.Configure(func(s *mxmtest.Settings) { s.Kill = c.scope })
			f.AddClient("other", "secret", callback)
			query := authorizeQuery()
			query.Set("client_id", "other")
			v := codeForm(f.code(query))
			v.Set("client_id", "other")
			v.Set("client_secret", "secret")
			otherClient, _ := f.granted(f.post("/oauth/token", v))
			otherLogin, own, stranger := f.Issue(ada), f.Issue(ada), f.Issue(ben)

			f.granted(f.refresh(own.RefreshToken))
			require.Equal(t, c.own, f.IsLive(own.AccessToken))
			require.Equal(t, c.otherLogin, f.IsLive(otherLogin.AccessToken))
			require.Equal(t, c.otherClient, f.IsLive(otherClient))
			require.True(t, f.IsLive(stranger.AccessToken))
			require.True(t, f.IsLive(otherLogin.RefreshToken))
		})
	}
}

func TestNoRotation(t *testing.T) {
	f := start(t)
	f.Configure(func(c *mxmtest.Settings) { c.NoRotation = true })
	login := f.Issue(ada)
	for range 2 {
		a := f.refresh(login.RefreshToken)
		access, _ := f.granted(a)
		require.NotContains(t, a.body, "refresh_token")
		require.True(t, f.IsLive(access))
		require.False(t, f.IsLive(login.AccessToken))
		require.True(t, f.IsLive(login.RefreshToken))
	}
}

func TestSingleLogin(t *testing.T) {
	f := start(t)
	kept := f.Issue(ada)
	require.True(t, f.IsLive(f.Issue(ada).RefreshToken))
	require.True(t, f.IsLive(kept.RefreshToken), "off by default")

	f.Configure(func(c *mxmtest.Settings) { c.SingleLogin = true })
	stranger := f.Issue(ben)
	login := f.Issue(ada)
	require.False(t, f.IsLive(kept.RefreshToken))
	require.False(t, f.IsLive(kept.AccessToken))
	require.True(t, f.IsLive(login.RefreshToken))
	require.True(t, f.IsLive(stranger.RefreshToken))
}

func TestRevokeAndExpire(t *testing.T) {
	f := start(t)
	one, two, stranger := f.Issue(ada), f.Issue(ada), f.Issue(ben)
	f.ExpireAccessTokens(ada)
	require.False(t, f.IsLive(one.AccessToken))
	require.False(t, f.IsLive(two.AccessToken))
	require.True(t, f.IsLive(one.RefreshToken))
	require.True(t, f.IsLive(stranger.AccessToken))
	require.Empty(t, f.Live(ada)[0].AccessToken)

	access, refresh := f.granted(f.refresh(one.RefreshToken))
	f.Revoke(ada)
	require.False(t, f.IsLive(access))
	require.False(t, f.IsLive(refresh))
	require.Empty(t, f.Live(ada))
	f.refused(f.refresh(refresh), http.StatusBadRequest, "invalid_grant")
	require.False(t, f.last().Spent)
	require.Equal(t, ada, f.last().UserID)
	require.Len(t, f.Live(ben), 1)
}

func TestClientCredentials(t *testing.T) {
	f := start(t)
	a := f.post("/oauth/token", withClient("grant_type", "client_credentials", "scope", "distribution lyrics"))
	access, refresh := f.granted(a)
	require.True(t, f.IsLive(access))
	require.Empty(t, refresh)
	require.Equal(t, "distribution lyrics", a.field(t, "scope"))
	require.JSONEq(t, `{"active":true}`, f.introspect(access).body)

	access, _ = f.granted(f.post("/oauth/token", withClient("grant_type", "client_credentials")))
	require.True(t, f.IsLive(access))
	f.refused(f.post("/oauth/token", withClient("grant_type", "client_credentials", "scope", `a"b`)), http.StatusBadRequest, "invalid_scope")
	require.Empty(t, f.Live(""))
}
