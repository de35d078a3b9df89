package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mxmconnect/mxmconnect/internal/discovery"
)

const (
	maxAnswer   = 1 << 20 // bytes that are read of an answer
	callTimeout = 30 * time.Second
	longestWait = 90 * time.Second // for Retry-After
)

// server is the authorization server as its client sees it. It takes what other
// servers than Musixmatch's answer, too.
type server struct {
	clientID, clientSecret string
	authURL, tokenURL      string
	metadataURLs           []string
	revocationURL, apiURL  string
	client                 *http.Client
	transport              *http.Transport     // of client
	doc                    *discovery.Document // nil: there is none
	inHeader               bool                // client ID and secret go into the Authorization header
	styleKnown             bool
	metadata               *dialect // how token-metadata is asked; nil: not known
	limited                bool     // token-metadata has answered 429
	scope                  string
	noDate                 bool
	skew                   time.Duration
}

// tokens are what the token endpoint has issued, and when: after sent, and before
// received.
type tokens struct {
	access, refresh string
	lifetime        time.Duration // of access; 0: not said
	sent, received  time.Time
}

// refusal is an answer that is no success. It holds nothing that was sent.
type refusal struct {
	status     int
	code       string // of an OAuth error, if it is a known one
	retryAfter time.Duration
}

func (r *refusal) Error() string {
	if r.code != "" {
		return fmt.Sprintf("%d %s", r.status, r.code)
	}
	return fmt.Sprintf("status %d", r.status)
}

// refusedToken reports whether err refuses the token that was presented, whatever
// words the server has for it, and not the client.
func refusedToken(err error) bool {
	var r *refusal
	return errors.As(err, &r) && r.status >= 400 && r.status < 500 && r.status != http.StatusTooManyRequests && !r.aboutClient()
}

func (r *refusal) aboutClient() bool {
	return slices.Contains([]string{"invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"}, r.code)
}

var errorCodes = []string{
	"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope", "invalid_token",
	"access_denied", "unsupported_response_type", "server_error", "temporarily_unavailable",
	"interaction_required", "login_required", "consent_required", "account_selection_required",
}

func known(code string) string {
	if slices.Contains(errorCodes, code) {
		return code
	}
	return ""
}

// answer is what came, with the members that are looked at.
type answer struct {
	refusal
	sent, received time.Time
	date           string
	json           bool
	Error          any    `json:"error"`
	Access         string `json:"access_token"`
	Refresh        string `json:"refresh_token"`
	ExpiresIn      any    `json:"expires_in"`
	Active         *bool  `json:"active"`
}

func (s *server) do(req *http.Request) (*answer, error) {
	req.Header.Set("Accept", "application/json")
	a := &answer{sent: time.Now()}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, cause(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, cause(err)
	}
	a.received, a.status, a.date = time.Now(), resp.StatusCode, resp.Header.Get("Date")
	a.json = json.Unmarshal(body, a) == nil
	text, _ := a.Error.(string)
	a.code = known(text)
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds >= 0 {
		a.retryAfter = min(time.Duration(seconds)*time.Second, longestWait)
	}
	return a, nil
}

// cause is the innermost error: an outer one quotes the URL.
func cause(err error) error {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err
}

// post sends a form, with the client's credentials if asked for.
func (s *server) post(ctx context.Context, target string, form url.Values, auth bool) (*answer, error) {
	req, err := s.newPost(ctx, target, form, auth)
	if err != nil {
		return nil, err
	}
	return s.do(req)
}

func (s *server) newPost(ctx context.Context, target string, form url.Values, auth bool) (*http.Request, error) {
	if auth && !s.inHeader {
		form.Set("client_id", s.clientID)
		form.Set("client_secret", s.clientSecret)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, errors.New("the URL is not valid")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if auth && s.inHeader {
		req.SetBasicAuth(url.QueryEscape(s.clientID), url.QueryEscape(s.clientSecret)) // RFC 6749 section 2.3.1
	}
	return req, nil
}

// token asks the token endpoint. The first answer about the client decides where
// the credentials go.
func (s *server) token(ctx context.Context, form url.Values) (*tokens, error) {
	ask := func() (*answer, error) { return s.post(ctx, s.tokenURL, clone(form), true) }
	a, err := ask()
	if err == nil && a.status == http.StatusTooManyRequests {
		if err := sleep(ctx, max(a.retryAfter, time.Second)); err != nil {
			return nil, err
		}
		a, err = ask()
	}
	if err == nil && !s.styleKnown && (a.code == "invalid_client" || a.status == http.StatusUnauthorized) {
		s.inHeader = !s.inHeader
		again, err := ask()
		if err != nil {
			return nil, err
		}
		if again.code == "invalid_client" || again.status == http.StatusUnauthorized {
			s.inHeader = !s.inHeader
		} else {
			a, s.styleKnown = again, true
		}
	}
	switch {
	case err != nil:
		return nil, err
	case a.status != http.StatusOK || a.Access == "":
		return nil, &a.refusal
	}
	s.styleKnown = true
	return &tokens{access: a.Access, refresh: a.Refresh, lifetime: lifetime(a.ExpiresIn), sent: a.sent, received: a.received}, s.noteDate(a)
}

func clone(form url.Values) url.Values {
	c := url.Values{}
	for name, values := range form {
		c[name] = values
	}
	return c
}

// lifetime takes expires_in as a number and as text.
func lifetime(v any) time.Duration {
	var seconds float64
	switch v := v.(type) {
	case float64:
		seconds = v
	case string:
		seconds, _ = strconv.ParseFloat(v, 64)
	}
	return time.Duration(seconds * float64(time.Second))
}

func (s *server) noteDate(a *answer) error {
	date, err := http.ParseTime(a.date)
	if s.noDate = err != nil; s.noDate {
		return nil
	}
	s.skew = date.Sub(a.received).Round(time.Second)
	return nil
}

func (s *server) refresh(ctx context.Context, refreshToken string) (*tokens, error) {
	return s.token(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}})
}

// refreshAndHangUp sends a refresh on a connection of its own, and closes that when
// the last byte is written. net/http tells of a request before it is flushed, so it
// is no help here.
func (s *server) refreshAndHangUp(ctx context.Context, refreshToken string) error {
	req, err := s.newPost(ctx, s.tokenURL, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}}, true)
	if err != nil {
		return err
	}
	if s.transport.Proxy != nil {
		if proxy, err := s.transport.Proxy(req); err != nil || proxy != nil {
			return errors.New("a proxy is in between")
		}
	}
	conn, err := s.connect(ctx, req.URL)
	if err != nil {
		return cause(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(callTimeout)); err != nil {
		return err
	}
	buffered := bufio.NewWriter(conn)
	if err := req.Write(buffered); err != nil {
		return cause(err)
	}
	return buffered.Flush()
}

func (s *server) connect(ctx context.Context, to *url.URL) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	dial := s.transport.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	host, port := to.Hostname(), to.Port()
	if port == "" {
		port = to.Scheme // a name that net.Dial knows
	}
	conn, err := dial(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil || to.Scheme != "https" {
		return conn, err
	}
	config := &tls.Config{}
	if s.transport.TLSClientConfig != nil {
		config = s.transport.TLSClientConfig.Clone()
	}
	config.ServerName, config.NextProtos = host, nil // HTTP/1.1
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// dialect is a way to ask token-metadata. The first is the documented one.
type dialect struct {
	url, parameter string
	auth, get      bool
}

const dialectsPerURL = 5

func (s *server) dialects() (all []dialect) {
	for _, u := range s.metadataURLs {
		all = append(all, dialect{u, "accessToken", false, false}, dialect{u, "accessToken", true, false},
			dialect{u, "token", false, false}, dialect{u, "token", true, false}, dialect{u, "accessToken", false, true})
	}
	return all
}

// introspect asks token-metadata once.
func (s *server) introspect(ctx context.Context, d dialect, token string) (*answer, error) {
	if !d.get {
		return s.post(ctx, d.url, url.Values{d.parameter: {token}}, d.auth)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+"?"+url.Values{d.parameter: {token}}.Encode(), nil)
	if err != nil {
		return nil, errors.New("the URL is not valid")
	}
	return s.do(req)
}

var errBlind = errors.New("neither token-metadata nor an API says whether an access token lives")

// look is one question about an access token, and when it was asked.
type look struct {
	alive          bool
	sent, received time.Time
}

// alive asks token-metadata or, if that is not understood, the API. It waits when
// it is told to.
func (s *server) alive(ctx context.Context, token string) (look, error) {
	if s.metadata == nil {
		return s.apiTakes(ctx, token)
	}
	for {
		a, err := s.introspect(ctx, *s.metadata, token)
		switch {
		case err != nil:
			return look{}, err
		case a.status == http.StatusTooManyRequests:
			s.limited = true
			if err := sleep(ctx, max(a.retryAfter, 100*time.Millisecond)); err != nil {
				return look{}, err
			}
		case a.Active == nil:
			return look{}, fmt.Errorf("token-metadata: %w", &a.refusal)
		default:
			return look{*a.Active, a.sent, a.received}, nil
		}
	}
}

func (s *server) apiTakes(ctx context.Context, token string) (look, error) {
	if s.apiURL == "" {
		return look{}, errBlind
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.apiURL, nil)
	if err != nil {
		return look{}, errBlind
	}
	req.Header.Set("Authorization", "Bearer "+token)
	a, err := s.do(req)
	switch {
	case err != nil:
		return look{}, err
	case a.status == http.StatusOK:
		return look{true, a.sent, a.received}, nil
	case a.status == http.StatusUnauthorized:
		return look{false, a.sent, a.received}, nil
	}
	return look{}, fmt.Errorf("the API: %w", &a.refusal)
}

// span is a time that has been measured: above low, and at most high. A high of 0
// is no bound.
type span struct{ low, high time.Duration }

func (s span) String() string {
	round := func(d time.Duration) time.Duration {
		return d.Round(max(time.Millisecond, (d / 100).Truncate(time.Millisecond)))
	}
	switch {
	case s.high == 0:
		return "at least " + round(s.low).String()
	case s.low == 0:
		return "at most " + round(s.high).String()
	}
	return "between " + round(s.low).String() + " and " + round(s.high).String()
}

// watch asks about a token until it is alive, or dead, and returns how long after
// an event that took. The event was after began, and before ended. If that does not
// happen within limit, ok is false.
func (s *server) watch(ctx context.Context, token string, alive bool, began, ended time.Time, limit time.Duration) (took span, ok bool, err error) {
	for pause := 20 * time.Millisecond; ; pause = min(pause*13/10, time.Second) {
		l, err := s.alive(ctx, token)
		switch {
		case err != nil:
			return took, false, err
		case l.alive == alive:
			took.high = l.received.Sub(began)
			return took, true, nil
		case l.sent.Sub(ended) > limit:
			took.low = l.sent.Sub(ended)
			return took, false, nil
		}
		took.low = max(0, l.sent.Sub(ended))
		if err := sleep(ctx, pause); err != nil {
			return took, false, err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
