package mxmtest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

const (
	ada      = "mxm:100000000000000000001"
	ben      = "mxm:100000000000000000002"
	callback = "https://app.example/auth/musixmatch/callback"
)

// fake is a Server and a browser and client in front of it.
type fake struct {
	*mxmtest.Server
	t      *testing.T
	client *http.Client
}

func start(t *testing.T) fake {
	srv := mxmtest.NewServer()
	t.Cleanup(srv.Close)
	srv.AddClient(mxmtest.DefaultClientID, mxmtest.DefaultClientSecret, callback)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return fake{srv, t, &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

type answer struct {
	status int
	header http.Header
	body   string
	err    error // of the transport, or of reading the body
}

func (a answer) field(t *testing.T, name string) any {
	t.Helper()
	var object map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.body), &object), a.body)
	return object[name]
}

func (f fake) do(method, target, body string, edit ...func(*http.Request)) (a answer) {
	f.t.Helper()
	if strings.HasPrefix(target, "/") {
		target = f.URL + target
	}
	req, err := http.NewRequest(method, target, strings.NewReader(body))
	require.NoError(f.t, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, e := range edit {
		e(req)
	}
	res, err := f.client.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(data), err}
}

func (f fake) get(target string) answer {
	f.t.Helper()
	return f.do(http.MethodGet, target, "")
}

func (f fake) post(path string, form url.Values, edit ...func(*http.Request)) answer {
	f.t.Helper()
	return f.do(http.MethodPost, path, form.Encode(), edit...)
}

func form(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v
}

func withClient(pairs ...string) url.Values {
	return form(append(pairs, "client_id", mxmtest.DefaultClientID, "client_secret", mxmtest.DefaultClientSecret)...)
}

func refreshForm(token string) url.Values {
	return withClient("grant_type", "refresh_token", "refresh_token", token)
}

func (f fake) refresh(token string) answer {
	f.t.Helper()
	return f.post("/oauth/token", refreshForm(token))
}

func (f fake) introspect(token string) answer {
	f.t.Helper()
	return f.post("/oauth/token-metadata", form("accessToken", token))
}

const verifier = "0123456789-0123456789.0123456789_0123456789~"

func authorizeQuery() url.Values {
	return form("response_type", "code", "client_id", mxmtest.DefaultClientID, "redirect_uri", callback,
		"scope", "profile email", "state", "a state",
		"code_challenge", oauth2.S256ChallengeFromVerifier(verifier), "code_challenge_method", "S256")
}

// code signs Ada in and returns the authorization code.
func (f fake) code(query url.Values) string {
	f.t.Helper()
	f.SignInAs(ada)
	code := f.back(f.get("/oauth/authorize?" + query.Encode())).Get("code")
	require.NotEmpty(f.t, code)
	return code
}

// back returns what a redirect brings to the callback.
func (f fake) back(a answer) url.Values {
	f.t.Helper()
	require.NoError(f.t, a.err)
	require.Equal(f.t, http.StatusSeeOther, a.status, a.body)
	u, err := url.Parse(a.header.Get("Location"))
	require.NoError(f.t, err)
	query := u.Query()
	u.RawQuery = ""
	require.Equal(f.t, callback, u.String())
	return query
}

func codeForm(code string) url.Values {
	return withClient("grant_type", "authorization_code", "code", code, "redirect_uri", callback, "code_verifier", verifier)
}

func (f fake) last() mxmtest.Request {
	f.t.Helper()
	log := f.Requests()
	require.NotEmpty(f.t, log)
	return log[len(log)-1]
}

func (f fake) refused(a answer, status int, code string) {
	f.t.Helper()
	require.NoError(f.t, a.err)
	require.Equal(f.t, status, a.status, a.body)
	require.Equal(f.t, "application/json", a.header.Get("Content-Type"))
	require.Equal(f.t, "no-store", a.header.Get("Cache-Control"))
	require.NotEmpty(f.t, a.header.Get("Date"))
	require.Equal(f.t, code, a.field(f.t, "error"))
	require.Equal(f.t, code, f.last().Outcome)
	require.Equal(f.t, status, f.last().Status)
}

func (f fake) granted(a answer) (access, refresh string) {
	f.t.Helper()
	require.NoError(f.t, a.err)
	require.Equal(f.t, http.StatusOK, a.status, a.body)
	require.Equal(f.t, mxmtest.OK, f.last().Outcome)
	access, _ = a.field(f.t, "access_token").(string)
	refresh, _ = a.field(f.t, "refresh_token").(string)
	return access, refresh
}
