package core

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
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
