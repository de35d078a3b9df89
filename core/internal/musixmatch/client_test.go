package musixmatch

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseExpiresIn(t *testing.T) {
	for raw, want := range map[string]time.Duration{
		`3600`: time.Hour, `3600.0`: time.Hour, `3.6e3`: time.Hour, `"3600"`: time.Hour, `" 3600 "`: time.Hour,
		``: 300 * time.Second, `null`: 300 * time.Second, `true`: 300 * time.Second, `"soon"`: 300 * time.Second, `"NaN"`: 300 * time.Second,
		`0`: 0, `-1`: 0, `1`: time.Second, `1e400`: longestExpiresIn, `99999999999`: longestExpiresIn, `"Inf"`: longestExpiresIn,
	} {
		got, known := parseExpiresIn(json.RawMessage(raw))
		require.Equal(t, want, got, "%q", raw)
		require.Equal(t, want != missingExpiresIn, known, "%q", raw)
	}
}

func TestSalvage(t *testing.T) {
	for name, tc := range map[string]struct {
		body            string
		access, refresh string
		whole, sound    bool
	}{
		"as documented":          {`{"access_token":"a","token_type":"Bearer","expires_in":3600,"refresh_token":"r","scope":"s"}`, "a", "r", true, true},
		"token_type in capitals": {`{"access_token":"a","token_type":"BEARER","refresh_token":"r"}`, "a", "r", true, true},
		"odd expires_in":         {`{"access_token":"a","token_type":"Bearer","expires_in":true,"refresh_token":"r"}`, "a", "r", true, true},
		"no refresh token":       {`{"access_token":"a","token_type":"Bearer"}`, "a", "", true, true},
		"wrong token_type":       {`{"access_token":"a","token_type":"mac","refresh_token":"r"}`, "a", "r", true, false},
		"no token_type":          {`{"access_token":"a","refresh_token":"r"}`, "a", "r", true, false},
		"no access token":        {`{"token_type":"Bearer","refresh_token":"r"}`, "", "r", true, false},
		"line end in access":     {`{"access_token":"a\r\nb","token_type":"Bearer","refresh_token":"r"}`, "", "r", true, false},
		"access is a number":     {`{"access_token":1,"token_type":"Bearer","refresh_token":"r"}`, "", "r", true, false},
		"refresh is a number":    {`{"access_token":"a","token_type":"Bearer","refresh_token":1}`, "a", "", false, false}, // there, and unreadable
		"refresh is empty":       {`{"access_token":"a","token_type":"Bearer","refresh_token":""}`, "a", "", true, true},
		"refresh is null":        {`{"access_token":"a","token_type":"Bearer","refresh_token":null}`, "a", "", true, true},
		"cut after the refresh":  {`{"refresh_token":"r","access_token":"a`, "", "r", false, false},
		"cut inside it":          {`{"access_token":"a","refresh_token":"r`, "a", "", false, false},
		"data behind it":         {`{"access_token":"a","token_type":"Bearer","refresh_token":"r"} x`, "a", "r", false, false},
		"two objects":            {`{"access_token":"a","token_type":"Bearer","refresh_token":"r"}{}`, "a", "r", false, false},
		"the last one counts":    {`{"access_token":"a","token_type":"Bearer","refresh_token":"old","refresh_token":"r"}`, "a", "r", true, true},
		"another case":           {`{"ACCESS_TOKEN":"a","Refresh_Token":"r","token_type":"Bearer"}`, "", "", true, false},
		"an array":               {`[{"access_token":"a"}]`, "", "", false, false},
		"HTML":                   {`<html>`, "", "", false, false},
		"nothing":                {``, "", "", false, false},
	} {
		got := parseTokens([]byte(tc.body))
		require.Equal(t, tc.access, got.Access, name)
		require.Equal(t, tc.refresh, got.Refresh, name)
		require.Equal(t, tc.whole, got.Complete, name)
		require.Equal(t, tc.sound, got.Defect == nil, "%s: %v", name, got.Defect)
	}
}

// A refresh token that a JSON parser finds is never lost, and what is called
// sound is what RFC 6749 section 5.1 asks for.
func FuzzTokenResponse(f *testing.F) {
	for _, seed := range []string{
		`{"access_token":"a","token_type":"Bearer","expires_in":3600,"refresh_token":"r"}`, `{"refresh_token":"r"`, `{}`, `{"expires_in":1e999}`, `{"refresh_token":""}`, `{"refresh_token":null}`, `{"refresh_token":[]}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		got := parseTokens([]byte(body))
		require.GreaterOrEqual(t, got.ExpiresIn, time.Duration(0))
		require.LessOrEqual(t, got.ExpiresIn, longestExpiresIn)
		var whole map[string]json.RawMessage
		if json.Unmarshal([]byte(body), &whole) == nil && whole != nil {
			var want string
			_ = json.Unmarshal(whole["refresh_token"], &want)
			require.Equal(t, want, got.Refresh)
			raw, there := whole["refresh_token"]
			unreadable := there && string(raw) != "null" && string(raw) != `""` && want == ""
			require.Equal(t, !unreadable, got.Complete)
		} else {
			require.False(t, got.Complete)
		}
		if got.Defect == nil {
			var tokenType string
			_ = json.Unmarshal(whole["token_type"], &tokenType)
			require.True(t, strings.EqualFold(tokenType, "bearer"))
			require.True(t, ValidToken(got.Access))
		} else {
			require.False(t, errors.Is(got.Defect, io.EOF))
		}
	})
}

func clientOf(t *testing.T, serve http.HandlerFunc) *Client {
	srv := httptest.NewServer(serve)
	t.Cleanup(srv.Close)
	return New(Options{Clock: SystemClock(),
		ClientID: "client", ClientSecret: "secret-canary", RedirectURL: "https://app.example/cb",
		Endpoint: Endpoint{TokenURL: srv.URL + "/token", MetadataURL: srv.URL + "/metadata"},
	})
}

// refresh is one refresh from the connection to the answer.
func refresh(t *testing.T, c *Client, token string, may bool) (*Tokens, error) {
	conn, err := c.Connect(t.Context(), token)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	a := <-conn.Send(func() bool { return may })
	return a.Tokens, a.Err
}

func TestTokenEndpointIsNeverRedirected(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		var elsewhere atomic.Int32
		other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
		defer other.Close()
		c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, status)
		})
		_, err := refresh(t, c, "rt", true)
		var call *CallError
		require.ErrorAs(t, err, &call)
		require.Equal(t, status, call.Status)
		require.True(t, call.Sent)
		require.Zero(t, elsewhere.Load())
	}
}

func TestSecretsTravelInTheBodyOnly(t *testing.T) {
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		require.Empty(t, r.URL.RawQuery)
		require.Empty(t, r.Header.Get("Authorization"))
		require.Empty(t, r.Header.Get("Idempotency-Key"))
		require.NoError(t, r.ParseForm())
		require.Equal(t, "client", r.PostForm.Get("client_id"))
		require.Equal(t, "secret-canary", r.PostForm.Get("client_secret"))
		require.Equal(t, "rt", r.PostForm.Get("refresh_token"))
		require.Equal(t, "refresh_token", r.PostForm.Get("grant_type"))
		require.True(t, r.Close, "a connection of its own")
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		io.WriteString(w, `{"access_token":"a","token_type":"bearer","expires_in":60,"refresh_token":"r"}`)
	})
	got, err := refresh(t, c, "rt", true)
	require.NoError(t, err)
	require.NoError(t, got.Defect)
	require.True(t, got.ExpiryKnown)
	require.WithinDuration(t, time.Now(), got.Issued, 5*time.Second)
}

func TestNothingIsSentWhenItIsTooLate(t *testing.T) {
	var requests atomic.Int32
	c := clientOf(t, func(http.ResponseWriter, *http.Request) { requests.Add(1) })
	_, err := refresh(t, c, "rt", false)
	var call *CallError
	require.ErrorAs(t, err, &call)
	require.False(t, call.Sent)
	require.ErrorIs(t, err, errTooLate)
	require.Zero(t, requests.Load())
}

// However an application's transport dials, its connections ask before the
// first byte, and say whether one was sent.
func TestEveryDialerIsGated(t *testing.T) {
	var requests atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		requests.Add(1)
		panic(http.ErrAbortHandler) // the answer is lost
	}))
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	settings := srv.Client().Transport.(*http.Transport).TLSClientConfig
	dials := 0
	overTLS := func(network, addr string) (net.Conn, error) {
		dials++
		return tls.Dial(network, addr, settings)
	}
	for name, transport := range map[string]*http.Transport{
		"DialContext": {TLSClientConfig: settings, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials++
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}},
		"Dial": {TLSClientConfig: settings, Dial: func(network, addr string) (net.Conn, error) {
			dials++
			return net.Dial(network, addr)
		}},
		"DialTLSContext": {DialTLSContext: func(_ context.Context, network, addr string) (net.Conn, error) { return overTLS(network, addr) }},
		"DialTLS":        {DialTLS: overTLS},
	} {
		dials = 0
		requests.Store(0)
		c := New(Options{Clock: SystemClock(), Endpoint: Endpoint{TokenURL: srv.URL}, Transport: transport})
		var call *CallError
		_, err := refresh(t, c, "rt", false)
		require.ErrorAs(t, err, &call, name)
		require.False(t, call.Sent, name)
		require.Zero(t, requests.Load(), name)
		_, err = refresh(t, c, "rt", true)
		require.ErrorAs(t, err, &call, name)
		require.True(t, call.Sent, "%s: a lost answer is not an unsent request", name)
		require.EqualValues(t, 1, requests.Load(), name)
		require.Equal(t, 2, dials, name)
	}
}

func TestAnswersAreCapped(t *testing.T) {
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"access_token":"a","token_type":"bearer","refresh_token":"r","pad":"`+strings.Repeat("x", MaxResponse)+`"}`)
	})
	got, err := refresh(t, c, "rt", true)
	require.NoError(t, err, "the tokens in it are saved all the same")
	require.Equal(t, "r", got.Refresh)
	require.Error(t, got.Defect)
	require.False(t, got.Complete)
	_, err = c.ClientCredentials(t.Context(), nil)
	require.Error(t, err)
}

func TestStrictAnswers(t *testing.T) {
	for name, tc := range map[string]struct{ contentType, body string }{
		"text/plain":    {"text/plain", `{"access_token":"a","token_type":"bearer"}`},
		"no type":       {"", `{"access_token":"a","token_type":"bearer"}`},
		"form":          {formContentType, `access_token=a&token_type=bearer`},
		"mac":           {"application/json", `{"access_token":"a","token_type":"mac"}`},
		"trailing data": {"application/json", `{"access_token":"a","token_type":"bearer"}1`},
		"empty token":   {"application/json", `{"access_token":"","token_type":"bearer"}`},
		"huge token":    {"application/json", `{"access_token":"` + strings.Repeat("a", maxTokenSize+1) + `","token_type":"bearer"}`},
	} {
		c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = []string{tc.contentType}
			io.WriteString(w, tc.body)
		})
		_, err := c.Exchange(t.Context(), CheckedResponse{code: "c", verifier: "v"})
		require.Error(t, err, name)
	}
}

func TestErrorsHoldNothingOfTheAnswer(t *testing.T) {
	const canary = "canary-from-the-server"
	for name, serve := range map[string]http.HandlerFunc{
		"error code": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(400)
			io.WriteString(w, `{"error":"`+canary+`"}`)
		},
		"description": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(400)
			io.WriteString(w, `{"error":"invalid_grant","error_description":"`+canary+`"}`)
		},
		"HTML":         func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(502); io.WriteString(w, canary) },
		"not HTTP":     func(w http.ResponseWriter, r *http.Request) { hijack(w, canary+"\r\n\r\n") },
		"wrong header": func(w http.ResponseWriter, r *http.Request) { hijack(w, "HTTP/1.1 200 OK\r\n"+canary+"\r\n\r\n") },
		"wrong status": func(w http.ResponseWriter, r *http.Request) { hijack(w, "HTTP/1.1 "+canary+"\r\n\r\n") },
		"wrong chunk": func(w http.ResponseWriter, r *http.Request) {
			hijack(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+canary+"\r\n")
		},
		"wrong JSON": func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"access_token":`+canary) },
	} {
		c := clientOf(t, serve)
		_, err := refresh(t, c, "canary-refresh", true)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "canary", name)
		_, err = c.Introspect(t.Context(), "canary-access")
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "canary", name)
	}
}

func hijack(w http.ResponseWriter, raw string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		io.WriteString(conn, raw)
		conn.Close()
	}
}

func TestIntrospection(t *testing.T) {
	for body, want := range map[string]*Introspection{
		`{"active":true,"sub":"mxm:1"}`:                            {Active: true, Sub: "mxm:1"},
		`{"active":false}`:                                         {},
		`{"active":false,"sub":"mxm:1"}`:                           {},
		`{"active":"true","sub":"mxm:1"}`:                          nil,
		`{"active":1,"sub":"mxm:1"}`:                               nil,
		`{"Active":true,"sub":"mxm:1"}`:                            nil,
		`{"active":true}`:                                          nil,
		`{"active":true,"sub":1}`:                                  nil,
		`{"active":true,"sub":""}`:                                 nil,
		`{"active":true,"sub":" mxm:1"}`:                           nil,
		`{"active":true,"sub":"mxm:1\n"}`:                          nil,
		`{"active":true,"sub":"mxm:ı"}`:                            nil,
		`{"active":true,"sub":"mxm:1"}{}`:                          nil,
		`{"active":true,"sub":"` + strings.Repeat("1", 256) + `"}`: nil,
		`{}`:   nil,
		`null`: nil,
		``:     nil,
	} {
		c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
			require.NoError(t, r.ParseForm())
			require.Equal(t, map[string][]string{"accessToken": {"at"}}, map[string][]string(r.PostForm), "and no client authentication")
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, body)
		})
		got, err := c.Introspect(t.Context(), "at")
		if want == nil {
			require.Error(t, err, body)
			continue
		}
		require.NoError(t, err, body)
		require.Equal(t, want.Active, got.Active, body)
		require.Equal(t, want.Sub, got.Sub, body)
	}
}

func TestRetryAfter(t *testing.T) {
	require.Equal(t, 7*time.Second, parseRetryAfter("7"))
	require.Equal(t, maxRetryAfter, parseRetryAfter("99999999"))
	require.Zero(t, parseRetryAfter("-1"))
	require.Zero(t, parseRetryAfter("soon"))
	require.Zero(t, parseRetryAfter("Mon, 02 Jan 2006 15:04:05 GMT"))
	require.Equal(t, maxRetryAfter, parseRetryAfter("Mon, 02 Jan 2170 15:04:05 GMT"))
}

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

func (c canned) client() *Client {
	return New(Options{
		Clock: SystemClock(), Transport: c,
		Endpoint: Endpoint{TokenURL: "https://connect.example/token", MetadataURL: "https://connect.example/metadata"},
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
		in, err := canned{200, http.Header{"Content-Type": {contentType}}, body}.client().Introspect(t.Context(), "at")
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
func FuzzErrorResponse(f *testing.F) {
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
		_, err := refresh(t, c, "rt", true)
		var call *CallError
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
