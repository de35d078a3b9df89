package mxmtest_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// Whatever a client sends, the Server answers with a status of the protocol,
// and with tokens only to who sent the secret, once, in a form in the body.
func FuzzRequest(f *testing.F) {
	const form = "application/x-www-form-urlencoded"
	credentials := url.Values{"client_id": {mxmtest.DefaultClientID}, "client_secret": {mxmtest.DefaultClientSecret}}.Encode()
	for _, seed := range [][5]string{
		{"POST", "/oauth/token", "", form, credentials + "&grant_type=client_credentials"},
		{"POST", "/oauth/token", "", form, credentials + "&grant_type=client_credentials&client_id=x"},
		{"POST", "/oauth/token", "", form, "client_id=" + mxmtest.DefaultClientID + "&client_secret=x&grant_type=client_credentials"},
		{"POST", "/oauth/token", "Basic dGVzdDp0ZXN0", form, "grant_type=client_credentials"},
		{"POST", "/oauth/token?grant_type=client_credentials", "", form, credentials},
		{"POST", "/oauth/token", "", "text/plain", credentials + "&grant_type=client_credentials"},
		{"POST", "/oauth/token", "", form, credentials + "&grant_type=refresh_token&refresh_token=rt.1.1.x"},
		{"POST", "/oauth/token", "", form, credentials + "&grant_type=authorization_code&code=%zz"},
		{"POST", "/oauth/token-metadata", "", form, "accessToken=at.1.1.x"},
		{"POST", "/oauth/revoke", "", form, credentials + "&token=rt.9.9."},
		{"GET", "/oauth/authorize?response_type=code&client_id=" + mxmtest.DefaultClientID + "&redirect_uri=x&code_challenge=y&code_challenge_method=S256", "", "", ""},
		{"GET", "/whoami", "bearer  at.1.1.x", "", ""},
		{"PUT", "/.well-known/openid-configuration", "", "", ""},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3], seed[4])
	}
	srv := mxmtest.NewUnstarted("http://127.0.0.1")
	f.Cleanup(srv.Close)
	srv.Configure(func(s *mxmtest.Settings) { s.KeepRequests = 10 })
	f.Fuzz(func(t *testing.T, method, target, authorization, contentType, body string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || !strings.HasPrefix(target, "/") {
			return
		}
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Method, r.URL, r.RequestURI = method, u, target
		r.Header.Set("Content-Type", contentType)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, r)
		require.GreaterOrEqual(t, w.Code, 200)
		require.Less(t, w.Code, 500)
		if w.Code >= 300 && w.Code < 400 {
			require.Contains(t, w.Header().Get("Location"), "//", "to a registered redirect URI")
		}
		if !strings.Contains(w.Body.String(), `"access_token"`) {
			return
		}
		sent, err := url.ParseQuery(body)
		require.NoError(t, err)
		require.Equal(t, "POST", method)
		require.Equal(t, "/oauth/token", u.Path)
		require.Empty(t, u.RawQuery+authorization)
		require.Equal(t, "client_credentials", strings.Join(sent["grant_type"], ""))
		require.Equal(t, mxmtest.DefaultClientID, strings.Join(sent["client_id"], ""))
		require.Equal(t, mxmtest.DefaultClientSecret, strings.Join(sent["client_secret"], ""))
	})
}
