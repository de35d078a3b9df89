package examples_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// Whatever happens, no secret is in a log, in a page or in a header
// other than the redirect and the cookie that carry it.
func TestCanaries(t *testing.T) {
	t.Parallel()
	eachDemo(t, func(t *testing.T, name string) {
		srv := newServer(t)
		app, c := startDemo(t, name, srv, "MXM_KEYS="+goodKey), browser(t)
		base, err := url.Parse(app.URL)
		require.NoError(t, err)
		secrets := map[string]string{"key": goodKey, "client secret": mxmtest.DefaultClientSecret}
		collect := func() {
			for _, cookie := range c.Jar.Cookies(base) {
				secrets["cookie "+cookie.Name] = cookie.Value
			}
			for _, f := range srv.Live(ada) {
				secrets["access token "+f.AccessToken] = f.AccessToken
				secrets["refresh token "+f.RefreshToken] = f.RefreshToken
			}
			for _, r := range srv.Requests() {
				secrets["token "+r.Token] = r.Token
				secrets["verifier "+r.Form.Get("code_verifier")] = r.Form.Get("code_verifier")
				secrets["state "+r.Query.Get("state")] = r.Query.Get("state")
				secrets["state of an answer "+r.Query.Get("state")] = url.QueryEscape(r.Query.Get("state"))
				secrets["code of an answer "+r.Token] = url.QueryEscape(r.Token)
			}
		}
		var seen strings.Builder
		look := func(a answer) {
			collect()
			h := a.Header.Clone()
			h.Del("Set-Cookie")
			h.Del("Location")
			require.NoError(t, h.Write(&seen))
			seen.WriteString(a.body)
		}

		for _, fault := range []mxmtest.Fault{
			mxmtest.HTML(200), mxmtest.Status(400, `{"error":"invalid_grant"}`, 0), mxmtest.DropRequest, mxmtest.DropResponse, mxmtest.SetField("access_token", `""`),
		} {
			srv.Fail(mxmtest.Token, fault)
			callback := authorize(t, c, app.URL+"/auth/musixmatch/login?return_to=/me")
			look(navigate(t, c, callback))
			look(get(t, c, callback))                                                     // again
			look(get(t, browser(t), callback))                                            // by somebody else
			look(get(t, c, callback+"&state=x"))                                          // out of order
			look(navigate(t, c, strings.Replace(callback, "callback?", "callback/?", 1))) // lost its way
		}
		srv.Deny()
		look(navigate(t, c, authorize(t, c, app.URL+"/auth/musixmatch/login")))
		srv.SignInAs(ada)
		callback := authorize(t, c, app.URL+"/auth/musixmatch/login")
		look(navigate(t, c, callback))
		look(navigate(t, c, callback))
		for _, path := range []string{"/", "/me", "/whoami", "/verify", "/slow?ms=1", "/nothing"} {
			look(navigate(t, c, app.URL+path))
		}
		srv.ExpireAccessTokens(ada)
		look(get(t, c, app.URL+"/whoami"))
		srv.ExpireAccessTokens(ada)
		srv.Fail(mxmtest.Token, mxmtest.DropResponse)
		impatient := *c
		look(get(t, &impatient, app.URL+"/healthz"))
		srv.Fail(mxmtest.API, mxmtest.DropRequest)
		look(get(t, c, app.URL+"/whoami"))
		srv.Revoke(ada)
		look(navigate(t, c, app.URL+"/"))
		look(post(t, c, app.URL+"/auth/musixmatch/disconnect"))
		forged, err := http.NewRequest(http.MethodGet, app.URL+"/me", nil)
		require.NoError(t, err)
		forged.Header.Set("Cookie", sessionCookie+"=canary-of-a-cookie-that-is-exactly-43-bytes!")
		secrets["forged cookie"] = "canary-of-a-cookie"
		res, err := c.Do(forged)
		look(read(t, res, err))

		require.Zero(t, app.stop())
		collect()
		seen.WriteString(app.stderr.String())
		text := seen.String()
		require.Contains(t, text, `"path":"/auth/musixmatch/callback"`)
		found := 0
		for what, secret := range secrets {
			if len(secret) < 8 {
				continue
			}
			found++
			require.NotContains(t, text, secret, strings.Fields(what)[0])
		}
		require.Greater(t, found, 30)
	})
}
