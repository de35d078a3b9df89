package core

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// All that is said to Musixmatch is said in this file: one POST per call, on a
// connection of its own, never redirected, never repeated.

const (
	callTimeout       = 10 * time.Second // of every call but a refresh
	maxAnswer         = 64 << 10
	maxTokenSize      = 8 << 10
	missingExpiresIn  = 300 * time.Second
	longestExpiresIn  = 365 * 24 * time.Hour
	maxRetryAfter     = 5 * time.Minute
	maxSubjectSize    = 255 // OpenID Connect Core section 2
	formContentType   = "application/x-www-form-urlencoded"
	maxResponseHeader = 64 << 10
)

// endpointClient calls the endpoints of one authorization server as one client.
type endpointClient struct {
	endpoint     Endpoint
	clientID     string
	clientSecret string
	redirectURL  string
	http         *http.Client
	clock        serverClock

	authorizationURL string // where browsers are sent, up to state and code_challenge
}

func newEndpointClient(c *Config) *endpointClient {
	var transport http.RoundTripper
	if c.HTTPClient != nil {
		transport = c.HTTPClient.Transport
	}
	return &endpointClient{
		endpoint:     c.Endpoint,
		clientID:     c.ClientID,
		clientSecret: c.ClientSecret,
		redirectURL:  c.RedirectURL,

		authorizationURL: newAuthorizationURL(c),

		http: &http.Client{
			Transport: singleUse(transport),
			// A redirect would carry the form, secrets included, elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// tokens is what a successful answer of the token endpoint holds.
type tokens struct {
	Access, Refresh, Scope string
	ExpiresIn              time.Duration
	Issued                 time.Time // by the server's clock where it said it, else by ours
	Dated                  bool      // the server said when it issued the access token, and for how long
	Status                 int       // of the answer: a success
	Whole                  bool      // the answer arrived complete and was one JSON object

	// Defect is what is wrong with an answer of which the tokens were saved
	// all the same, or nil.
	Defect error
}

// callError is a call that did not end in the answer that was asked for.
type callError struct {
	What       string        // the endpoint, for people
	Sent       bool          // a byte of the request may have reached the server
	Status     int           // 0: no answer
	Code       string        // RFC 6749 section 5.2 error code, if it is a known one
	RetryAfter time.Duration // 0: not given
	Cause      error         // holds nothing that was sent or received
}

func (e *callError) Error() string {
	s := e.What
	switch {
	case e.Status != 0 && e.Code != "":
		s += fmt.Sprintf(" answered %d %s", e.Status, e.Code)
	case e.Status != 0:
		s += fmt.Sprintf(" answered %d", e.Status)
	default:
		s += " gave no answer"
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

func (e *callError) Unwrap() error { return e.Cause }

var knownErrorCodes = []string{
	"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client",
	"unsupported_grant_type", "invalid_scope", "server_error", "temporarily_unavailable",
}

// exchange trades an authorization code for tokens (RFC 6749 section 4.1.3).
// It takes only an answer that check has accepted.
func (c *endpointClient) exchange(ctx context.Context, answer checkedAnswer) (*tokens, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return c.strictToken(ctx, url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {answer.code},
		"redirect_uri":  {c.redirectURL},
		"code_verifier": {answer.verifier},
	})
}

// clientCredentials asks for a token of the application itself (RFC 6749 section 4.4).
func (c *endpointClient) clientCredentials(ctx context.Context, scopes []string) (*tokens, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	form := url.Values{"grant_type": {"client_credentials"}}
	if len(scopes) > 0 {
		form.Set("scope", strings.Join(scopes, " "))
	}
	return c.strictToken(ctx, form)
}

// refresh spends refreshToken (RFC 6749 section 6). The caller sets the
// deadline. maySend is asked when the connection stands, immediately before
// the first byte; if it says no, nothing is sent. Tokens are returned however
// odd the rest of the answer is: a successful rotation must not be thrown away.
func (c *endpointClient) refresh(ctx context.Context, refreshToken string, maySend func() bool) (*tokens, error) {
	return c.token(ctx, url.Values{
		"grant_type":    {"refresh_token"},
		"refresh_token": {refreshToken},
	}, maySend)
}

func (c *endpointClient) strictToken(ctx context.Context, form url.Values) (*tokens, error) {
	t, err := c.token(ctx, form, nil)
	if err != nil {
		return nil, err
	}
	if t.Defect != nil {
		return nil, &callError{What: "the token endpoint", Sent: true, Status: t.Status, Cause: t.Defect}
	}
	return t, nil
}

func (c *endpointClient) token(ctx context.Context, form url.Values, maySend func() bool) (*tokens, error) {
	form.Set("client_id", c.clientID)
	form.Set("client_secret", c.clientSecret)
	a, err := c.post(ctx, "the token endpoint", c.endpoint.TokenURL, form, maySend)
	if err != nil {
		return nil, err
	}
	if a.status < 200 || a.status > 299 {
		return nil, a.refusal("the token endpoint")
	}
	t := parseTokens(a.body)
	t.Status = a.status
	if t.Defect == nil && a.status != http.StatusOK { // such as the 203 of a proxy
		t.Defect = errors.New("the status is not 200")
	}
	t.Issued, t.Dated = a.date, a.dated && t.Dated
	t.Whole = t.Whole && a.problem == nil
	if t.Defect == nil && !a.isJSON {
		t.Defect = errors.New("the answer is not application/json")
	}
	if a.problem != nil {
		t.Defect = a.problem
	}
	if t.Access == "" && t.Refresh == "" {
		return nil, &callError{What: "the token endpoint", Sent: true, Status: t.Status, Cause: t.Defect}
	}
	return t, nil
}

// introspection is an answer of token-metadata.
type introspection struct {
	Active bool
	Sub    string
	Date   time.Time
	Dated  bool
}

// introspect asks token-metadata about a token that this package itself has
// received from the token endpoint. The answer names no audience, so nothing
// else may ever be asked about.
func (c *endpointClient) introspect(ctx context.Context, access string) (introspection, error) {
	const what = "token-metadata"
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	a, err := c.post(ctx, what, c.endpoint.MetadataURL, url.Values{"accessToken": {access}}, nil)
	if err != nil {
		return introspection{}, err
	}
	if a.status != http.StatusOK {
		return introspection{}, a.refusal(what)
	}
	wrong := func(text string) (introspection, error) {
		return introspection{}, &callError{What: what, Sent: true, Status: a.status, Cause: errors.New(text)}
	}
	if a.problem != nil || !a.isJSON {
		return wrong("the answer is not JSON")
	}
	fields, whole := topLevel(a.body)
	if !whole {
		return wrong("the answer is not one JSON object")
	}
	in := introspection{Date: a.date, Dated: a.dated}
	switch string(fields["active"]) {
	case "false":
		return in, nil
	case "true":
		in.Active = true
	default:
		return wrong("active is neither true nor false")
	}
	in.Sub, _ = stringField(fields["sub"])
	if !validSubject(in.Sub) {
		return wrong("sub is not a user ID")
	}
	return in, nil
}

// revoke tells the server that a token is not needed any more (RFC 7009), if
// it has an endpoint for that. It is a courtesy: there is nothing to do about a failure.
func (c *endpointClient) revoke(ctx context.Context, token string) {
	if c.endpoint.RevocationURL == "" || token == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, _ = c.post(ctx, "the revocation endpoint", c.endpoint.RevocationURL, url.Values{
		"token": {token}, "client_id": {c.clientID}, "client_secret": {c.clientSecret},
	}, nil)
}

// answer is a response as it arrived.
type answer struct {
	status     int
	isJSON     bool
	body       []byte
	problem    error // the body is cut short or too long
	retryAfter time.Duration
	date       time.Time
	dated      bool
}

func (a *answer) refusal(what string) error {
	e := &callError{What: what, Sent: true, Status: a.status, RetryAfter: a.retryAfter}
	if fields, ok := topLevel(a.body); ok {
		if code, _ := stringField(fields["error"]); slices.Contains(knownErrorCodes, code) {
			e.Code = code
		}
	}
	return e
}

func (c *endpointClient) post(ctx context.Context, what, to string, form url.Values, maySend func() bool) (*answer, error) {
	g := &gate{may: maySend}
	if _, gated := c.http.Transport.(*http.Transport); !gated {
		// A transport that is not ours is asked once, before it dials.
		if err := g.pass(); err != nil {
			return nil, &callError{What: what, Cause: err}
		}
	}
	// The form is a reader that net/http knows to be in memory, so headers and
	// body leave in one write; without GetBody they cannot leave twice.
	req, err := http.NewRequestWithContext(g.on(ctx), http.MethodPost, to, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, &callError{What: what, Cause: errors.New("its URL is not valid")}
	}
	req.GetBody = nil
	req.Header.Set("Content-Type", formContentType)
	req.Header.Set("Accept", "application/json")
	resp, err := c.do(req)
	if err != nil {
		return nil, &callError{What: what, Sent: g.withdraw(), Cause: safeCause(err)}
	}
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, retryAfter: parseRetryAfter(resp.Header.Get("Retry-After"))}
	a.date, a.dated = c.clock.read(resp.Header.Get("Date"))
	if mediaType, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err == nil {
		a.isJSON = mediaType == "application/json"
	}
	a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		a.problem = errors.New("the answer was cut short")
	} else if len(a.body) > maxAnswer {
		a.problem = errors.New("the answer is too long")
	}
	return a, nil
}

func (c *endpointClient) do(req *http.Request) (resp *http.Response, err error) {
	defer panicked(&err)
	return c.http.Do(req)
}

// safeCause keeps of a transport's error what cannot hold bytes of the answer.
func safeCause(err error) error {
	var netErr *net.OpError
	var certErr *tls.CertificateVerificationError
	var bug panicError
	switch {
	case errors.As(err, &bug):
		return bug
	case errors.Is(err, errTooLate):
		return errTooLate
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.As(err, &certErr):
		return certErr
	case errors.As(err, &netErr):
		return netErr
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return io.ErrUnexpectedEOF
	}
	return errors.New("the connection failed")
}

// parseTokens takes the tokens out of body however odd the rest is, then says
// in Defect what RFC 6749 section 5.1 would have had otherwise.
func parseTokens(body []byte) *tokens {
	fields, whole := topLevel(body)
	t := &tokens{Whole: whole}
	defect := func(text string) {
		if t.Defect == nil {
			t.Defect = errors.New(text)
		}
	}
	if !whole {
		defect("the answer is not one JSON object")
	}
	t.Refresh, _ = stringField(fields["refresh_token"])
	if raw, ok := fields["refresh_token"]; ok && string(raw) != "null" && !validToken(t.Refresh) {
		defect("refresh_token is not a token")
		t.Whole = t.Whole && t.Refresh != "" // it is there, and unreadable: not the same as none
	}
	t.Access, _ = stringField(fields["access_token"])
	if !validToken(t.Access) {
		t.Access = ""
		defect("access_token is not a token")
	}
	if tokenType, _ := stringField(fields["token_type"]); !strings.EqualFold(tokenType, "bearer") {
		defect("token_type is not Bearer")
	}
	t.Scope, _ = stringField(fields["scope"])
	t.ExpiresIn, t.Dated = parseExpiresIn(fields["expires_in"])
	return t
}

// parseExpiresIn reads seconds from a JSON number or a numeric string. What is
// missing or unreadable is five minutes, not "never", and not known; what is out of
// range is clamped.
func parseExpiresIn(raw json.RawMessage) (life time.Duration, known bool) {
	text := string(raw)
	if s, ok := stringField(raw); ok {
		text = strings.TrimSpace(s)
	}
	seconds, err := strconv.ParseFloat(text, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) && seconds > 0:
		return longestExpiresIn, true
	case err != nil || math.IsNaN(seconds):
		return missingExpiresIn, false
	case seconds <= 0:
		return 0, true
	case seconds > longestExpiresIn.Seconds():
		return longestExpiresIn, true
	}
	return time.Duration(seconds * float64(time.Second)), true
}

// topLevel returns the members of the JSON object that body begins with, as
// far as they are readable; whole says that body is that object and no more.
// Of a repeated member the last one counts.
func topLevel(body []byte) (fields map[string]json.RawMessage, whole bool) {
	if json.Unmarshal(body, &fields) == nil && fields != nil { // null leaves it nil
		return fields, true
	}
	// Member by member costs several times as much, but saves what can be read.
	fields = map[string]json.RawMessage{}
	d := json.NewDecoder(bytes.NewReader(body))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return fields, false
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return fields, false
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return fields, false
		}
		fields[name.(string)] = value
	}
	if _, err := d.Token(); err != nil {
		return fields, false
	}
	_, err := d.Token()
	return fields, err == io.EOF
}

func stringField(raw json.RawMessage) (string, bool) {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return s, true
}

// validToken accepts visible ASCII (RFC 6749 appendix A.12, without the space).
func validToken(s string) bool {
	if s == "" || len(s) > maxTokenSize {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

func validSubject(s string) bool {
	return len(s) <= maxSubjectSize && validToken(s)
}

func parseRetryAfter(v string) time.Duration {
	if v == "" {
		return 0
	}
	d := time.Duration(0)
	if seconds, err := strconv.Atoi(v); err == nil {
		d = time.Duration(min(seconds, int(maxRetryAfter.Seconds()))) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		d = time.Until(at)
	}
	return max(0, min(d, maxRetryAfter))
}

// serverClock follows the authorization server's clock by the Date of its
// answers, so that a wrong clock of ours costs one early refresh and no more.
type serverClock struct{ last atomic.Pointer[clockReading] }

type clockReading struct{ local, server time.Time }

// read returns the time that a Date header names, and whether there was one.
func (c *serverClock) read(date string) (time.Time, bool) {
	server, err := http.ParseTime(date)
	if err != nil {
		return c.now(), false
	}
	c.last.Store(&clockReading{local: time.Now(), server: server})
	return server, true
}

// now is the server's time: our own until it has answered once.
func (c *serverClock) now() time.Time {
	if r := c.last.Load(); r != nil {
		return r.server.Add(time.Since(r.local))
	}
	return time.Now()
}
