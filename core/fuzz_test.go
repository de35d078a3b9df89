package core

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What the foreign bytes of the other fuzz tests are: see callback_test.go,
// codec_test.go, endpoint_test.go, flow_test.go and returnto_test.go.

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

func (c canned) client() *endpointClient {
	cfg := validConfig()
	cfg.HTTPClient = &http.Client{Transport: c}
	cfg.Endpoint = Endpoint{TokenURL: "https://connect.example/token", MetadataURL: "https://connect.example/metadata"}
	return newEndpointClient(&cfg)
}

// What was sealed opens where it belongs, and no other bytes, nowhere else.
func FuzzSealed(f *testing.F) {
	f.Add("flow", "place", []byte("plain"), uint16(0), byte(1))
	f.Add("", "", []byte{}, uint16(17), byte(255))
	ring, err := newKeyring([][]byte{testKey(1), testKey(2)})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, purpose, place string, plain []byte, at uint16, change byte) {
		sealed := ring.seal(purpose, place, plain)
		opened, err := ring.open(purpose, place, sealed)
		require.NoError(t, err)
		require.True(t, bytes.Equal(plain, opened))
		_, err = ring.open(purpose, place+"x", sealed)
		require.ErrorIs(t, err, errUnsealable)
		_, err = ring.open(purpose, place, plain)
		require.ErrorIs(t, err, errUnsealable, "what was never sealed")
		i := int(at) % len(sealed)
		_, err = ring.open(purpose, place, sealed[:i])
		require.ErrorIs(t, err, errUnsealable, "cut short")
		if change != 0 {
			sealed[i] ^= change
			_, err = ring.open(purpose, place, sealed)
			require.ErrorIs(t, err, errUnsealable, "changed at %d", i)
		}
	})
}

// A record is a grant only if it says whose it is, whatever else is in it, and
// what was read is written as it was.
func FuzzGrantRecord(f *testing.F) {
	const sub = "mxm:1"
	for _, seed := range []string{
		`{"base_url":"https://connect.example","client_id":"client","sub":"mxm:1","gen":1,"status":"live","intent":{"id":"i","attempt":1}}`,
		`{"BASE_URL":"https://connect.example","client_id":"client","sub":"mxm:1"}`, `{"sub":"mxm:2"}`,
		`{"base_url":"https://connect.example","client_id":"client","sub":"mxm:2"}`, `{"base_url":"https://connect.example","client_id":"c","sub":"mxm:1"}`, `{}`, `null`, ``,
	} {
		f.Add([]byte(seed))
	}
	ring, err := newKeyring([][]byte{testKey(1)})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, plain []byte) {
		g := &grants{store: NewMemory(), keys: ring, baseURL: "https://connect.example", clientID: "client"}
		key := g.key(sub)
		require.NoError(t, g.store.CommitGrant(t.Context(), key, "", Record{Data: ring.seal(grantPurpose, key, plain), Version: "1"}))
		gr, version, found, err := g.find(t.Context(), sub)
		require.True(t, found)
		require.Equal(t, "1", version, "also of what does not open: a login replaces it")
		var whose struct {
			BaseURL  string `json:"base_url"`
			ClientID string `json:"client_id"`
			Sub      string `json:"sub"`
		}
		readable := json.Unmarshal(plain, &whose) == nil
		if err != nil {
			require.NotContains(t, err.Error(), "mxm:")
			return
		}
		require.True(t, readable)
		require.Equal(t, "https://connect.example client mxm:1", whose.BaseURL+" "+whose.ClientID+" "+whose.Sub)
		if gr.Issued.Year() < 0 || gr.Issued.Year() > 9999 {
			return
		}
		_, err = g.commit(t.Context(), version, gr)
		require.NoError(t, err)
		again, _, _, err := g.find(t.Context(), sub)
		require.NoError(t, err)
		require.True(t, gr.Issued.Equal(again.Issued))
		again.Issued = gr.Issued
		if gr.Intent != nil {
			require.True(t, gr.Intent.Started.Equal(again.Intent.Started))
			again.Intent.Started = gr.Intent.Started
		}
		require.Equal(t, gr, again)
	})
}

// Nobody is active whom a plain reading of the answer does not call so by a
// name that can be one.
func FuzzIntrospection(f *testing.F) {
	for _, seed := range []string{
		`{"active":true,"sub":"mxm:1"}`, `{"active":false}`, `{"active":"true","sub":"mxm:1"}`, `{"ACTIVE":true,"sub":"mxm:1"}`,
		`{"active":true}`, `{"active":true,"sub":" mxm:1"}`,
		`{"active":false,"active":true,"sub":"mxm:1"}`, `{"active":true,"sub":"mxm:1"}{}`, `[]`, `null`, ``,
	} {
		f.Add("application/json", seed)
	}
	f.Fuzz(func(t *testing.T, contentType, body string) {
		in, err := canned{200, http.Header{"Content-Type": {contentType}}, body}.client().introspect(t.Context(), "at")
		if err != nil {
			require.LessOrEqual(t, len(err.Error()), 100, "nothing of the answer is repeated")
			return
		}
		var whole map[string]any
		require.NoError(t, json.Unmarshal([]byte(body), &whole))
		require.Equal(t, whole["active"], in.Active)
		if !in.Active {
			require.Empty(t, in.Sub)
			return
		}
		require.Equal(t, whole["sub"], in.Sub)
		require.NotEmpty(t, in.Sub)
		require.LessOrEqual(t, len(in.Sub), 255)
		require.False(t, strings.ContainsFunc(in.Sub, func(r rune) bool { return r <= ' ' || r > '~' }))
	})
}

// An error answer is told by its status and, if it is one that RFC 6749 knows,
// its code. A server cannot make us wait for longer than five minutes, or say
// anything in our logs.
func FuzzErrorAnswer(f *testing.F) {
	f.Add(400, `{"error":"invalid_grant","error_description":"canary"}`, "", "")
	f.Add(503, `<html>`, "120", "Mon, 02 Jan 2006 15:04:05 GMT")
	f.Add(401, `{"error":"canary"}`, "", "")
	f.Add(429, `{"error":["invalid_grant"]}`, "Mon, 02 Jan 2170 15:04:05 GMT", "yesterday")
	f.Add(500, ``, "-9223372036854775808", "")
	f.Fuzz(func(t *testing.T, status int, body, retryAfter, date string) {
		if status < 300 || status > 599 {
			return
		}
		c := canned{status, http.Header{"Retry-After": {retryAfter}, "Date": {date}}, body}.client()
		_, err := c.refresh(t.Context(), "rt", func() bool { return true })
		var call *callError
		require.ErrorAs(t, err, &call)
		require.True(t, call.Sent)
		require.Equal(t, status, call.Status)
		require.GreaterOrEqual(t, call.RetryAfter, time.Duration(0))
		require.LessOrEqual(t, call.RetryAfter, 5*time.Minute)
		require.LessOrEqual(t, len(err.Error()), 100)
		if call.Code != "" {
			require.Contains(t, knownErrorCodes, call.Code)
			var whole map[string]any
			require.NoError(t, json.Unmarshal([]byte(body), &whole))
			require.Equal(t, whole["error"], call.Code)
		}
	})
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
			require.True(t, u.Scheme == "https" || u.Scheme == "http" && isLoopback(u.Hostname()), raw)
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

// Of what a browser can send our reader of cookies finds what net/http's finds,
// and never fewer of a name: a second one was planted.
func FuzzCookieHeader(f *testing.F) {
	for _, seed := range []string{"s=v", "a=b; s=v", "s=v; s=w", "s=v;s=w", ` s = v`, `s="v"`, "xs=v; s", "s==", ";;s=v;"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if strings.ContainsAny(header, "\r\n") {
			return // no header holds a line end
		}
		for part := range strings.SplitSeq(header, ";") {
			if name, _, ok := strings.Cut(part, "="); !ok || name != strings.TrimRight(name, " \t") {
				return // browsers trim names when they store them, and write every "="
			}
		}
		r := &http.Request{Header: http.Header{"Cookie": {header}}}
		value, found := cookieValue(r, "s")
		theirs := r.CookiesNamed("s")
		require.GreaterOrEqual(t, found, len(theirs))
		if found == 1 && len(theirs) == 1 && !strings.Contains(header, `"`) {
			require.Equal(t, theirs[0].Value, value)
		}
	})
}

// What is read of our part of a session is what was written.
func FuzzStamp(f *testing.F) {
	for _, seed := range []string{stamp{"mxm:1", 1, 2}.String(), "", "1 2", "1 2 ", "-1 zz mxm:1 x", "+1 1 u", "9999999999999999 1 u"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		st, ok := parseStamp(text)
		if !ok {
			return
		}
		require.NotEmpty(t, st.user)
		require.True(t, strings.HasSuffix(text, " "+st.user))
		again, ok := parseStamp(st.String())
		require.True(t, ok)
		require.Equal(t, st, again)
	})
}
