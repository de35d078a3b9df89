package mxmtest_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// Each fault at the token endpoint: what the client sees, and whether the fake
// has rotated.
func TestFaults(t *testing.T) {
	cut := func(t *testing.T, a answer) { require.ErrorIs(t, a.err, io.EOF); require.Zero(t, a.status) }
	status := func(status int, contentType, body string) func(*testing.T, answer) {
		return func(t *testing.T, a answer) {
			require.NoError(t, a.err)
			require.Equal(t, status, a.status)
			require.Equal(t, contentType, a.header.Get("Content-Type"))
			require.Contains(t, a.body, body)
		}
	}
	body := func(want string) func(*testing.T, answer) { return status(200, "application/json", want) }
	for name, c := range map[string]struct {
		fault     mxmtest.Fault
		committed bool
		sees      func(*testing.T, answer)
	}{
		"DropRequest":  {mxmtest.DropRequest, false, cut},
		"DropResponse": {mxmtest.DropResponse, true, cut},
		"SlowRequest":  {mxmtest.SlowRequest(time.Millisecond), true, body("refresh_token")},
		"SlowResponse": {mxmtest.SlowResponse(time.Millisecond), true, body("refresh_token")},
		"Status": {mxmtest.Status(503, `{"error":"temporarily_unavailable"}`, 7*time.Second), false, func(t *testing.T, a answer) {
			status(503, "application/json", "temporarily_unavailable")(t, a)
			require.Equal(t, "7", a.header.Get("Retry-After"))
		}},
		"Status after commit": {mxmtest.AfterCommit(mxmtest.Status(502, "", 0)), true, func(t *testing.T, a answer) {
			status(502, "application/json", "")(t, a)
			require.Empty(t, a.header.Values("Retry-After"))
		}},
		"HTML":              {mxmtest.HTML(200), false, status(200, "text/html; charset=utf-8", "<h1>")},
		"HTML after commit": {mxmtest.AfterCommit(mxmtest.HTML(502)), true, status(502, "text/html; charset=utf-8", "<h1>")},
		"Redirect": {mxmtest.Redirect(307, "https://evil.example/"), false, func(t *testing.T, a answer) {
			require.Equal(t, 307, a.status)
			require.Equal(t, "https://evil.example/", a.header.Get("Location"))
		}},
		"Truncated": {mxmtest.Truncated, true, func(t *testing.T, a answer) {
			require.ErrorIs(t, a.err, io.ErrUnexpectedEOF)
			require.Equal(t, 200, a.status)
			require.Regexp(t, `"refresh_token":"rt\.[^"]+$`, a.body)
		}},
		"Huge": {mxmtest.Huge(1 << 20), true, func(t *testing.T, a answer) {
			require.Greater(t, len(a.body), 1<<20)
			require.Len(t, a.field(t, "padding"), 1<<20)
		}},
		"SetField string":   {mxmtest.SetField("expires_in", `"3600"`), true, body(`"expires_in":"3600","refresh_token"`)},
		"SetField exponent": {mxmtest.SetField("expires_in", `3.6e3`), true, body(`"expires_in":3.6e3,`)},
		"SetField nonsense": {mxmtest.SetField("expires_in", `?`), true, body(`"expires_in":?,`)},
		"SetField new":      {mxmtest.SetField("id_token", `"x.y.z"`), true, body(`,"id_token":"x.y.z"}`)},
		"DropField": {mxmtest.DropField("expires_in"), true, func(t *testing.T, a answer) {
			require.Nil(t, a.field(t, "expires_in"))
			require.NotNil(t, a.field(t, "refresh_token"))
		}},
		"DuplicateField": {mxmtest.DuplicateField("access_token", `"decoy"`), true, body(`,"access_token":"decoy"}`)},
		"Trailing":       {mxmtest.Trailing("{}"), true, body(`"}{}`)},
		"ContentType":    {mxmtest.ContentType("text/plain"), true, status(200, "text/plain", "refresh_token")},
		"Chain": {mxmtest.Chain(mxmtest.DropField("access_token"), mxmtest.DropField("scope"), mxmtest.DropField("token_type"),
			mxmtest.DropField("expires_in"), mxmtest.DropField("refresh_token")), true, body("{}")},
		"Rewrite": {mxmtest.Rewrite(func(b []byte, h http.Header) []byte {
			h.Set("X-Rewritten", "1")
			return bytes.ToUpper(b)
		}), true, func(t *testing.T, a answer) {
			body("REFRESH_TOKEN")(t, a)
			require.Equal(t, "1", a.header.Get("X-Rewritten"))
		}},
		"own": {func(x *mxmtest.Exchange) {
			x.Commit()
			if x.Request.UserID == ada && x.Request.Outcome == mxmtest.OK && x.Response.Status == 200 {
				x.CutAt(3)
			}
		}, true, func(t *testing.T, a answer) { require.Equal(t, `{"a`, a.body) }},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			login := f.Issue(ada)
			f.Fail(mxmtest.Token, c.fault)
			a := f.refresh(login.RefreshToken)
			c.sees(t, a)
			require.Equal(t, !c.committed, f.IsLive(login.RefreshToken))
			require.Equal(t, !c.committed, f.IsLive(login.AccessToken))
			live := f.Live(ada)
			require.Len(t, live, 1)
			require.True(t, f.last().Faulted)
			if c.committed {
				require.Equal(t, 1, live[0].Refreshes)
				require.Equal(t, mxmtest.OK, f.last().Outcome)
				require.Equal(t, 200, f.last().Status)
			} else {
				require.Equal(t, 0, live[0].Refreshes)
				require.Empty(t, f.last().Outcome)
				require.Zero(t, f.last().Status)
			}
			require.Len(t, f.Requests(), 1, "a cut request must not be sent twice")
			f.granted(f.refresh(live[0].RefreshToken))
			require.False(t, f.last().Faulted)
		})
	}
}

// A fault that edits successes leaves errors alone.
func TestEditOfAnError(t *testing.T) {
	f := start(t)
	f.Fail(mxmtest.Token, mxmtest.SetField("expires_in", "1"))
	a := f.refresh("x")
	f.refused(a, http.StatusBadRequest, "invalid_grant")
	require.NotContains(t, a.body, "expires_in")
}

func TestFaultsAtEveryEndpoint(t *testing.T) {
	f := start(t)
	f.Configure(func(c *mxmtest.Settings) { c.Revocation = true })
	f.SignInAs(ada)
	login := f.Issue(ada)
	endpoints := []mxmtest.Endpoint{mxmtest.Authorize, mxmtest.Token, mxmtest.Metadata, mxmtest.Discovery, mxmtest.Revocation, mxmtest.API}
	for endpoint, do := range map[mxmtest.Endpoint]func() answer{
		mxmtest.Authorize:  func() answer { return f.get("/oauth/authorize?" + authorizeQuery().Encode()) },
		mxmtest.Token:      func() answer { return f.refresh("x") },
		mxmtest.Metadata:   func() answer { return f.introspect("x") },
		mxmtest.Discovery:  func() answer { return f.get("/.well-known/oauth-authorization-server") },
		mxmtest.Revocation: func() answer { return f.post("/oauth/revoke", withClient("token", login.AccessToken)) },
		mxmtest.API:        func() answer { return f.get("/whoami") },
	} {
		for _, e := range endpoints {
			if e != endpoint {
				f.Fail(e, mxmtest.Status(499, "", 0))
			}
		}
		f.Fail(endpoint, mxmtest.Status(418, "", 0))
		require.Equal(t, 418, do().status)
		require.Equal(t, endpoint, f.last().Endpoint)
		require.Less(t, do().status, 418)
		f.ClearFaults()
	}
	login = f.Issue(ada)
	f.Fail(mxmtest.Revocation, mxmtest.DropResponse)
	require.Error(t, f.post("/oauth/revoke", withClient("token", login.RefreshToken)).err)
	require.False(t, f.IsLive(login.RefreshToken))
}

func TestConditions(t *testing.T) {
	f := start(t)
	one := func() int { return f.introspect("x").status }
	f.Fail(mxmtest.Metadata, mxmtest.Status(500, "", 0), mxmtest.Times(2))
	f.Fail(mxmtest.Metadata, mxmtest.Status(501, "", 0))
	require.Equal(t, []int{500, 500, 501, 200}, []int{one(), one(), one(), one()})

	f.Fail(mxmtest.Metadata, mxmtest.SetField("active", `"yes"`), mxmtest.Always())
	f.Fail(mxmtest.Metadata, mxmtest.ContentType("text/plain"))
	a := f.introspect("x")
	require.Equal(t, "text/plain", a.header.Get("Content-Type"))
	require.Equal(t, "yes", a.field(t, "active"), "an Always comes on top")
	require.Equal(t, "yes", f.introspect("x").field(t, "active"))
	f.ClearFaults()
	require.Equal(t, false, f.introspect("x").field(t, "active"))

	f.Fail(mxmtest.Token, mxmtest.Status(500, "", 0), mxmtest.Grant("refresh_token"),
		mxmtest.If(func(r mxmtest.Request) bool { return r.UserID == ben }))
	f.granted(f.post("/oauth/token", withClient("grant_type", "client_credentials")))
	f.granted(f.refresh(f.Issue(ada).RefreshToken))
	require.Equal(t, 500, f.refresh(f.Issue(ben).RefreshToken).status)
	f.granted(f.refresh(f.Live(ben)[0].RefreshToken))

	login := f.Issue(ada)
	f.Fail(mxmtest.Token, mxmtest.SetField("expires_in", "1"), mxmtest.Always())
	f.Fail(mxmtest.Token, mxmtest.DropRequest)
	require.Error(t, f.refresh(login.RefreshToken).err)
	require.True(t, f.IsLive(login.RefreshToken), "an Always comes after the others")
}

// Odd answers are odd in the way their name says.
func TestOddJSONIsStillJSON(t *testing.T) {
	f := start(t)
	f.Fail(mxmtest.Token, mxmtest.Chain(mxmtest.SetField("token_type", `"mac"`), mxmtest.Huge(10), mxmtest.DropField("scope")))
	var object map[string]any
	require.NoError(t, json.NewDecoder(strings.NewReader(f.refresh(f.Issue(ada).RefreshToken).body)).Decode(&object))
	require.Equal(t, "mac", object["token_type"])
	require.Equal(t, "xxxxxxxxxx", object["padding"])
	require.Len(t, object, 5)
}

// The faults are the same over HTTP/2, served by somebody else.
func TestHTTP2(t *testing.T) {
	srv := mxmtest.NewUnstarted("")
	defer srv.Close()
	server := httptest.NewUnstartedServer(srv)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	srv.URL = server.URL
	f := fake{srv, t, server.Client()}

	login := f.Issue(ada)
	f.Fail(mxmtest.Token, mxmtest.DropRequest)
	require.Error(t, f.refresh(login.RefreshToken).err)
	require.True(t, f.IsLive(login.RefreshToken))
	f.Fail(mxmtest.Token, mxmtest.DropResponse)
	require.Error(t, f.refresh(login.RefreshToken).err)
	require.False(t, f.IsLive(login.RefreshToken))
	f.Fail(mxmtest.Token, mxmtest.Truncated)
	a := f.refresh(f.Live(ada)[0].RefreshToken)
	require.Error(t, a.err)
	require.Regexp(t, `"refresh_token":"rt\.[^"]+$`, a.body)
	require.Len(t, f.Requests(), 3)
	res, err := f.client.Get(f.URL + "/.well-known/oauth-authorization-server")
	require.NoError(t, err)
	res.Body.Close()
	require.Equal(t, 2, res.ProtoMajor)
}

func TestHold(t *testing.T) {
	f := start(t)
	login := f.Issue(ada)
	for name, c := range map[string]struct {
		fault     func(<-chan struct{}) mxmtest.Fault
		committed bool
	}{
		"request": {mxmtest.Hold, false},
		"answer":  {func(c <-chan struct{}) mxmtest.Fault { return mxmtest.AfterCommit(mxmtest.Hold(c)) }, true},
	} {
		held, release := make(chan struct{}), make(chan struct{})
		f.Fail(mxmtest.Token, func(x *mxmtest.Exchange) {
			if c.committed {
				x.Commit()
			}
			close(held)
			c.fault(release)(x)
		})
		got := make(chan answer)
		go func() { got <- f.refresh(login.RefreshToken) }()
		<-held
		require.Equal(t, !c.committed, f.IsLive(login.RefreshToken), name)
		close(release)
		f.granted(<-got)
		require.False(t, f.IsLive(login.RefreshToken))
		login = f.Live(ada)[0]
	}
}

// Close does not wait for a slow fault, and what it held back never happens.
func TestCloseCutsSlowRequests(t *testing.T) {
	f := start(t)
	login := f.Issue(ada)
	f.Fail(mxmtest.Token, mxmtest.SlowRequest(time.Hour))
	got := make(chan answer)
	go func() { got <- f.refresh(login.RefreshToken) }()
	require.Eventually(t, func() bool { return len(f.Requests()) == 1 }, 10*time.Second, time.Millisecond)
	f.Close()
	f.Close()
	require.Error(t, (<-got).err)
	require.True(t, f.IsLive(login.RefreshToken))
	require.Empty(t, f.last().Outcome)
	require.Error(t, f.get("/whoami").err)
}
