package mxmtest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

func TestRequests(t *testing.T) {
	f := start(t)
	before := time.Now()
	code := f.code(authorizeQuery())
	f.granted(f.post("/oauth/token", codeForm(code)))
	login := f.Live(ada)[0]
	f.granted(f.refresh(login.RefreshToken))
	f.refresh(login.RefreshToken)
	f.introspect(login.AccessToken)
	f.do("GET", "/whoami", "", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+login.AccessToken) })

	log := f.Requests()
	require.Len(t, log, 6)
	type books struct {
		endpoint                mxmtest.Endpoint
		method, path, grantType string
		token, user             string
		family                  int
		spent                   bool
		outcome                 string
		status                  int
	}
	var got []books
	for _, r := range log {
		got = append(got, books{r.Endpoint, r.Method, r.Path, r.GrantType, r.Token, r.UserID, r.Family, r.Spent, r.Outcome, r.Status})
		require.False(t, r.Time.Before(before))
		before = r.Time
	}
	require.Equal(t, []books{
		{mxmtest.Authorize, "GET", "/oauth/authorize", "", "", ada, 0, false, "ok", 303},
		{mxmtest.Token, "POST", "/oauth/token", "authorization_code", code, ada, 1, false, "ok", 200},
		{mxmtest.Token, "POST", "/oauth/token", "refresh_token", login.RefreshToken, ada, 1, false, "ok", 200},
		{mxmtest.Token, "POST", "/oauth/token", "refresh_token", login.RefreshToken, ada, 1, true, "invalid_grant", 400},
		{mxmtest.Metadata, "POST", "/oauth/token-metadata", "", login.AccessToken, ada, 1, false, "ok", 200},
		{mxmtest.API, "GET", "/whoami", "", login.AccessToken, ada, 1, false, "invalid_token", 401},
	}, got)
	require.Equal(t, "S256", log[0].Query.Get("code_challenge_method"))
	require.Equal(t, mxmtest.DefaultClientID, log[0].ClientID)
	require.Equal(t, mxmtest.DefaultClientSecret, log[2].Form.Get("client_secret"))
	require.Equal(t, "application/x-www-form-urlencoded", log[2].Header.Get("Content-Type"))

	f.ResetRequests()
	require.Empty(t, f.Requests())
}

// A spent token is seen as such also when a fault kept it from being judged.
func TestSpentIsSeenUnprocessed(t *testing.T) {
	f := start(t)
	login := f.Issue(ada)
	f.granted(f.refresh(login.RefreshToken))
	f.Fail(mxmtest.Token, mxmtest.DropRequest)
	f.refresh(login.RefreshToken)
	require.True(t, f.last().Spent)
	require.Empty(t, f.last().Outcome)
	require.Len(t, f.Live(ada), 1, "what was not processed revokes nothing")
}

func TestKeepRequests(t *testing.T) {
	f := start(t)
	f.Configure(func(c *mxmtest.Settings) { c.KeepRequests = 10 })
	for range 100 {
		f.introspect("x")
		require.LessOrEqual(t, len(f.Requests()), 10)
	}
	f.introspect("the newest")
	require.GreaterOrEqual(t, len(f.Requests()), 5)
	require.Equal(t, "the newest", f.last().Token)
}
