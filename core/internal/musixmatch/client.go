// Package musixmatch talks to the authorization server: nothing else in this
// module makes a request to it. It knows what the server documents and the RFCs
// say, and nothing of sessions or of what becomes of a token.
package musixmatch

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
	"slices"
	"strings"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/recovery"
)

const (
	callTimeout       = 10 * time.Second // of every call but a refresh
	maxTokenSize      = 8 << 10
	missingExpiresIn  = 300 * time.Second
	longestExpiresIn  = 365 * 24 * time.Hour
	maxRetryAfter     = 5 * time.Minute
	maxSubjectSize    = 255 // OpenID Connect Core section 2
	formContentType   = "application/x-www-form-urlencoded"
	maxResponseHeader = 64 << 10

	// MaxResponse is the largest body that is read of any answer, in bytes.
	MaxResponse = 64 << 10
)

// Endpoint holds the URLs of an authorization server.
type Endpoint struct {
	Issuer        string // checked against iss in the authorization response (RFC 9207)
	AuthURL       string
	TokenURL      string
	MetadataURL   string // token-metadata, the introspection endpoint
	RevocationURL string // RFC 7009; may be empty

	// IssRequired says that every authorization response carries iss.
	IssRequired bool
}

// Options are what a [Client] needs to know.
type Options struct {
	Endpoint               Endpoint
	ClientID, ClientSecret string
	RedirectURL            string
	Scopes                 []string
	Transport              http.RoundTripper // of the application; nil: one of our own
	Clock                  Clock
}

// Client calls the endpoints of one authorization server as one client. It is
// safe for concurrent use.
type Client struct {
	endpoint     Endpoint
	clientID     string
	clientSecret string
	redirectURL  string
	pooled       http.RoundTripper // for what may be lost at the price of a click
	single       http.RoundTripper // for refreshes: a connection of its own for each
	clock        Clock
	server       *ServerClock

	authorizationURL string // where browsers are sent, up to state and code_challenge
}

// New returns a client. It does not use the network.
func New(o Options) *Client {
	return &Client{
		endpoint:         o.Endpoint,
		clientID:         o.ClientID,
		clientSecret:     o.ClientSecret,
		redirectURL:      o.RedirectURL,
		pooled:           newTransport(o.Transport, true),
		single:           newTransport(o.Transport, false),
		clock:            o.Clock,
		server:           NewServerClock(o.Clock),
		authorizationURL: newAuthorizationURL(o),
	}
}

// Now returns the server's time, and whether the server has said it.
func (c *Client) Now() (t time.Time, known bool) { return c.server.Now() }

// Close closes the connections that are idle.
func (c *Client) Close() {
	for _, transport := range []http.RoundTripper{c.pooled, c.single} {
		if t, ok := transport.(interface{ CloseIdleConnections() }); ok {
			t.CloseIdleConnections()
		}
	}
}

// CallError is a call that did not end in the answer that was asked for.
type CallError struct {
	What       string        // the endpoint, for people
	Sent       bool          // a byte of the request may have reached the server
	Status     int           // 0: no answer
	Code       string        // RFC 6749 section 5.2 error code, if it is a known one
	RetryAfter time.Duration // 0: not given
	Cause      error         // holds nothing that was sent or received

	reused bool // the connection had been idle before
}

// Error implements error.
func (e *CallError) Error() string {
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

// Unwrap returns the cause.
func (e *CallError) Unwrap() error { return e.Cause }

// Temporary reports whether the same call may succeed later: there was no
// answer, or the server said that it is busy or broken.
func (e *CallError) Temporary() bool {
	return e.Status == 0 || e.Status == http.StatusTooManyRequests || e.Status >= 500
}

// Definite reports whether the server refused the request for what it is (RFC 6749
// section 5.2), so that it considered no token and the same request will be refused
// again. Of invalid_grant and invalid_request that cannot be said: the loser of two
// refreshes may be told either.
func (e *CallError) Definite() bool {
	return e.Status >= 400 && e.Status < 500 && slices.Contains([]string{"invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}, e.Code)
}

// WrongClient reports whether the server refused our client ID and secret, or
// what they may do.
func (e *CallError) WrongClient() bool {
	return e.Code == "invalid_client" || e.Code == "unauthorized_client"
}

const tokenEndpoint = "the token endpoint"

var knownErrorCodes = []string{
	"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client",
	"unsupported_grant_type", "invalid_scope", "server_error", "temporarily_unavailable",
}

// Exchange trades an authorization code for tokens (RFC 6749 section 4.1.3).
func (c *Client) Exchange(ctx context.Context, r CheckedResponse) (*Tokens, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return c.strictToken(ctx, url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {r.code},
		"redirect_uri":  {c.redirectURL},
		"code_verifier": {r.verifier},
	})
}

// ClientCredentials asks for a token of the application itself (RFC 6749 section 4.4).
func (c *Client) ClientCredentials(ctx context.Context, scopes []string) (*Tokens, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	form := url.Values{"grant_type": {"client_credentials"}}
	if len(scopes) > 0 {
		form.Set("scope", strings.Join(scopes, " "))
	}
	return c.strictToken(ctx, form)
}

func (c *Client) strictToken(ctx context.Context, form url.Values) (*Tokens, error) {
	t, err := c.token(ctx, form, nil)
	if err != nil {
		return nil, err
	}
	if t.Defect != nil {
		return nil, &CallError{What: tokenEndpoint, Sent: true, Status: t.Status, Cause: t.Defect}
	}
	return t, nil
}

func (c *Client) token(ctx context.Context, form url.Values, g *gate) (*Tokens, error) {
	form.Set("client_id", c.clientID)
	form.Set("client_secret", c.clientSecret)
	r, err := c.post(ctx, tokenEndpoint, c.endpoint.TokenURL, form, g)
	if call := new(CallError); stale(err) && errors.As(err, &call) && !call.Sent {
		r, err = c.post(ctx, tokenEndpoint, c.endpoint.TokenURL, form, g)
	}
	if err != nil {
		return nil, err
	}
	now, _ := c.server.Now()
	return r.tokens(now)
}

// stale reports whether a call failed on a connection that had been idle, which
// the server may have closed meanwhile.
func stale(err error) bool {
	var call *CallError
	return errors.As(err, &call) && call.reused
}

// Introspection is an answer of token-metadata.
type Introspection struct {
	Active bool
	Sub    string
	Date   time.Time // when the server made the answer, by its own clock
	Dated  bool      // the server said so
}

// Introspect asks token-metadata about a token that this package itself has
// received from the token endpoint. The answer names no audience, so nothing
// else may ever be asked about.
func (c *Client) Introspect(ctx context.Context, access string) (Introspection, error) {
	const what = "token-metadata"
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	form := url.Values{"accessToken": {access}}
	a, err := c.post(ctx, what, c.endpoint.MetadataURL, form, nil)
	if stale(err) { // it may be asked twice without harm
		a, err = c.post(ctx, what, c.endpoint.MetadataURL, form, nil)
	}
	if err != nil {
		return Introspection{}, err
	}
	if a.status != http.StatusOK {
		return Introspection{}, a.errorResponse(what)
	}
	wrong := func(text string) (Introspection, error) {
		return Introspection{}, &CallError{What: what, Sent: true, Status: a.status, Cause: errors.New(text)}
	}
	if a.problem != nil || !a.isJSON {
		return wrong("the answer is not JSON")
	}
	fields, whole := topLevel(a.body)
	if !whole {
		return wrong("the answer is not one JSON object")
	}
	in := Introspection{Date: a.date, Dated: a.dated}
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

// Revoke tells the server that a token is not needed any more (RFC 7009), if
// it has an endpoint for that. It is a courtesy: there is nothing to do about a failure.
func (c *Client) Revoke(ctx context.Context, token string) {
	if c.endpoint.RevocationURL == "" || token == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, _ = c.post(ctx, "the revocation endpoint", c.endpoint.RevocationURL, url.Values{
		"token": {token}, "client_id": {c.clientID}, "client_secret": {c.clientSecret},
	}, nil)
}

// post sends a form. With a gate it goes on a connection of its own, which asks
// the gate before the first byte; without one the connection may be a pooled one.
func (c *Client) post(ctx context.Context, what, to string, form url.Values, own *gate) (*response, error) {
	transport, g := c.single, own
	if own == nil {
		transport, g = c.pooled, &gate{clock: c.clock}
	}
	if !gated(transport) {
		// A transport that is not ours is asked once, before it dials.
		if err := g.pass(); err != nil {
			return nil, &CallError{What: what, Cause: err}
		}
	}
	// The form is a reader that net/http knows to be in memory, so headers and
	// body leave in one write; without GetBody they cannot leave twice.
	req, err := http.NewRequestWithContext(g.on(ctx), http.MethodPost, to, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, &CallError{What: what, Cause: errors.New("its URL is not valid")}
	}
	req.GetBody = nil
	req.Header.Set("Content-Type", formContentType)
	req.Header.Set("Accept", "application/json")
	r, err := c.do(transport, req)
	if err != nil {
		return nil, &CallError{What: what, Sent: g.withdraw(), Cause: safeCause(err), reused: g.reused.Load()}
	}
	r.took = g.since()
	r.date, r.dated = c.server.Read(r.header.Get("Date"), r.took)
	return r, nil
}

// do sends req and reads the whole answer. It follows no redirect, which would
// carry the form, secrets included, elsewhere. The body, like the rest of the
// transport, may be the application's own and panic.
func (c *Client) do(transport http.RoundTripper, req *http.Request) (r *response, err error) {
	defer recovery.Catch(&err)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	r = &response{status: resp.StatusCode, header: resp.Header}
	if mediaType, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err == nil {
		r.isJSON = mediaType == "application/json"
	}
	r.body, err = io.ReadAll(io.LimitReader(resp.Body, MaxResponse+1))
	if err != nil {
		r.problem = errors.New("the answer was cut short")
	} else if len(r.body) > MaxResponse {
		r.problem = errors.New("the answer is too long")
	}
	return r, nil
}

// safeCause keeps of a transport's error what cannot hold bytes of the answer.
func safeCause(err error) error {
	var netErr *net.OpError
	var certErr *tls.CertificateVerificationError
	var bug recovery.Panic
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
