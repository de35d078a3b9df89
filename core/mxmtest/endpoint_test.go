package mxmtest_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

func TestTokenMetadata(t *testing.T) {
	f := start(t)
	login := f.Issue(ada)
	require.Equal(t, `{"active":true,"sub":"`+ada+`"}`, f.introspect(login.AccessToken).body)
	require.Equal(t, ada, f.last().UserID)
	require.Equal(t, `{"active":false}`, f.introspect("nonsense").body)
	require.Equal(t, `{"active":false}`, f.introspect(login.RefreshToken).body)
	f.Revoke(ada)
	require.Equal(t, `{"active":false}`, f.introspect(login.AccessToken).body)

	f.AddClient("other", "secret", callback)
	query := authorizeQuery()
	query.Set("client_id", "other")
	v := codeForm(f.code(query))
	v.Set("client_id", "other")
	v.Set("client_secret", "secret")
	other, _ := f.granted(f.post("/oauth/token", v))
	require.Equal(t, true, f.introspect(other).field(t, "active"), "another client's token is active, too")
}

func TestTokenMetadataRefusals(t *testing.T) {
	f := start(t)
	token := f.Issue(ada).AccessToken
	const path = "/oauth/token-metadata"
	bad := func(a answer) { t.Helper(); f.refused(a, http.StatusBadRequest, "invalid_request") }
	bad(f.post(path, form("token", token)))
	bad(f.post(path, form("accessToken", "")))
	bad(f.post(path, form("accessToken", token, "accessToken", token)))
	bad(f.post(path, withClient("accessToken", token)))
	bad(f.post(path, form("accessToken", token), func(r *http.Request) { r.SetBasicAuth("a", "b") }))
	bad(f.post(path, form("accessToken", token), func(r *http.Request) { r.Header.Set("Content-Type", "application/json") }))
	bad(f.post(path+"?accessToken="+url.QueryEscape(token), form("accessToken", token)))
	a := f.get(path)
	f.refused(a, http.StatusMethodNotAllowed, "method_not_allowed")
	require.Equal(t, "POST", a.header.Get("Allow"))
}

func TestIntrospectionLag(t *testing.T) {
	f := start(t)
	f.Configure(func(c *mxmtest.Settings) { c.DeathLag = time.Hour })
	killed, revoked := f.Issue(ada), f.Issue(ben)
	f.granted(f.refresh(killed.RefreshToken))
	f.Revoke(ben)
	for _, token := range []string{killed.AccessToken, revoked.AccessToken} {
		require.False(t, f.IsLive(token))
		require.Equal(t, true, f.introspect(token).field(t, "active"))
	}
	f.ExpireAccessTokens(ada)
	require.Equal(t, true, f.introspect(killed.AccessToken).field(t, "active"), "it was killed, and has not expired")
	f.Configure(func(c *mxmtest.Settings) { c.DeathLag = 0 })
	require.Equal(t, false, f.introspect(killed.AccessToken).field(t, "active"))

	f.Configure(func(c *mxmtest.Settings) { c.BirthLag = time.Hour })
	login := f.Issue(ada)
	require.True(t, f.IsLive(login.AccessToken))
	require.Equal(t, false, f.introspect(login.AccessToken).field(t, "active"))
}

func TestDiscovery(t *testing.T) {
	f := start(t)
	read := func(path string) (doc map[string]any) {
		a := f.get(path)
		require.Equal(t, http.StatusOK, a.status)
		require.Equal(t, "application/json", a.header.Get("Content-Type"))
		require.NoError(t, json.Unmarshal([]byte(a.body), &doc))
		return doc
	}
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		f.Configure(func(c *mxmtest.Settings) { c.Issuer, c.Revocation = false, false })
		doc := read(path)
		require.Equal(t, f.URL, doc["issuer"])
		require.Equal(t, f.URL+"/oauth/authorize", doc["authorization_endpoint"])
		require.Equal(t, f.URL+"/oauth/token", doc["token_endpoint"])
		require.Equal(t, []any{"S256"}, doc["code_challenge_methods_supported"])
		require.Equal(t, []any{"client_secret_post"}, doc["token_endpoint_auth_methods_supported"])
		require.NotContains(t, doc, "revocation_endpoint")
		require.NotContains(t, doc, "authorization_response_iss_parameter_supported")
		require.NotContains(t, doc, "introspection_endpoint")

		f.Configure(func(c *mxmtest.Settings) { c.Issuer, c.Revocation = true, true })
		doc = read(path)
		require.Equal(t, f.URL+"/oauth/revoke", doc["revocation_endpoint"])
		require.Equal(t, true, doc["authorization_response_iss_parameter_supported"])

		a := f.post(path, form("a", "b"))
		require.Equal(t, http.StatusMethodNotAllowed, a.status)
		require.Equal(t, "GET", a.header.Get("Allow"))
	}
	require.Contains(t, read(read("/.well-known/openid-configuration")["jwks_uri"].(string)), "keys")
	require.Equal(t, http.StatusNotFound, f.get("/nowhere").status)
}

func TestRevocation(t *testing.T) {
	f := start(t)
	login := f.Issue(ada)
	revoke := func(token string) answer { return f.post("/oauth/revoke", withClient("token", token)) }
	f.refused(revoke(login.RefreshToken), http.StatusNotFound, "not_found")
	f.Configure(func(c *mxmtest.Settings) { c.Revocation = true })

	require.Equal(t, http.StatusOK, revoke("unknown").status)
	f.refused(f.post("/oauth/revoke", form("token", login.RefreshToken)), http.StatusUnauthorized, "invalid_client")
	f.refused(f.post("/oauth/revoke", withClient()), http.StatusBadRequest, "invalid_request")
	f.refused(f.get("/oauth/revoke"), http.StatusMethodNotAllowed, "method_not_allowed")
	f.AddClient("other", "secret")
	f.refused(f.post("/oauth/revoke", form("token", login.RefreshToken, "client_id", "other", "client_secret", "secret")),
		http.StatusBadRequest, "invalid_grant")
	require.True(t, f.IsLive(login.RefreshToken))

	require.Equal(t, http.StatusOK, revoke(login.AccessToken).status)
	require.False(t, f.IsLive(login.AccessToken))
	require.True(t, f.IsLive(login.RefreshToken))

	access, refresh := f.granted(f.refresh(login.RefreshToken))
	require.Equal(t, http.StatusOK, revoke(refresh).status)
	require.False(t, f.IsLive(access))
	require.False(t, f.IsLive(refresh))
}

func TestWhoami(t *testing.T) {
	f := start(t)
	login := f.Issue(ada)
	ask := func(authorization ...string) answer {
		return f.do("POST", f.APIURL()+"/whoami", "a=b", func(r *http.Request) { r.Header["Authorization"] = authorization })
	}
	require.Equal(t, `{"sub":"`+ada+`"}`, ask("Bearer "+login.AccessToken).body)
	require.Equal(t, `{"sub":"`+ada+`"}`, ask("bearer "+login.AccessToken).body)
	require.Equal(t, "a=b", string(f.last().Body))
	require.Equal(t, ada, f.last().UserID)
	require.Equal(t, login.AccessToken, f.last().Token)

	for _, authorization := range [][]string{nil, {"Basic " + login.AccessToken}, {"Bearer " + login.AccessToken, "Bearer " + login.AccessToken}} {
		a := ask(authorization...)
		require.Equal(t, http.StatusUnauthorized, a.status)
		require.Equal(t, `Bearer realm="mxmtest"`, a.header.Get("WWW-Authenticate"))
	}
	expired := f.Issue(ben).AccessToken
	f.ExpireAccessTokens(ben)
	f.granted(f.refresh(login.RefreshToken))
	for _, dead := range []string{login.AccessToken, login.RefreshToken, expired, "x"} {
		a := ask("Bearer " + dead)
		require.Equal(t, http.StatusUnauthorized, a.status)
		require.Contains(t, a.header.Get("WWW-Authenticate"), `error="invalid_token"`)
		require.Equal(t, "invalid_token", f.last().Outcome)
	}
}

func TestDate(t *testing.T) {
	f := start(t)
	date := func() time.Duration {
		at, err := http.ParseTime(f.introspect("x").header.Get("Date"))
		require.NoError(t, err)
		return time.Until(at)
	}
	require.InDelta(t, 0, date().Minutes(), 1)
	f.Configure(func(c *mxmtest.Settings) { c.DateSkew = -time.Hour })
	require.InDelta(t, -60, date().Minutes(), 1)
	f.Configure(func(c *mxmtest.Settings) { c.NoDate = true })
	require.Empty(t, f.introspect("x").header.Values("Date"))
}
