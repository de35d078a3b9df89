package mxmtest

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"
)

const requiredScope = "profile email"

var (
	// RFC 6749 3.3.
	scopeSyntax = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]+( [\x21\x23-\x5B\x5D-\x7E]+)*$`)
	// A SHA-256 in base64url without padding (RFC 7636 4.2).
	challengeSyntax = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)
)

// authorization is an authorization request that has passed every check.
type authorization struct {
	client, redirectURI, scope, state, challenge string
}

// authorize is GET /oauth/authorize.
func (s *Server) authorize(r *Request) Response {
	if r.Method != http.MethodGet {
		return wrongMethod(r, http.MethodGet)
	}
	a, refused := s.checkAuthorization(r, r.Query, r.queryBad)
	switch {
	case refused != nil:
		return *refused
	case s.decision.deny:
		return s.denied(r, a)
	case s.decision.user != "":
		return s.allowed(r, a, s.decision.user)
	}
	return s.signInPage(r, a)
}

// checkAuthorization checks a request against the contract and RFC 6749 4.1.1.
// Until the client and its redirect URI are known to be valid, a refusal is a
// page and never a redirect (4.1.2.1).
func (s *Server) checkAuthorization(r *Request, q url.Values, malformed bool) (a authorization, refused *Response) {
	one := func(name string) string {
		if len(q[name]) != 1 {
			return ""
		}
		return q[name][0]
	}
	page := func(code, why string) (authorization, *Response) {
		p := errorPage(r, code, why)
		return a, &p
	}
	c := s.clients[one("client_id")]
	a.redirectURI = one("redirect_uri")
	switch {
	case malformed:
		return page("invalid_request", "The query is malformed.")
	case q.Has("client_secret"):
		return page("invalid_request", "A client secret does not belong into a URL. This one is no longer a secret.")
	case c == nil:
		return page("invalid_client", "The client is unknown, or client_id is missing or was sent twice.")
	case !slices.Contains(c.redirects, a.redirectURI):
		return page("invalid_redirect_uri", "The redirect URI is not registered for this client, is missing, or was sent twice.")
	}
	a.client, a.scope, a.state, a.challenge = c.id, one("scope"), one("state"), one("code_challenge")
	method := one("code_challenge_method")
	repeated := false
	for _, values := range q {
		repeated = repeated || len(values) > 1
	}
	var code, why string
	switch {
	case repeated:
		code, why = "invalid_request", "a parameter was sent more than once"
	case a.state == "":
		code, why = "invalid_request", "state is missing"
	case one("response_type") == "":
		code, why = "invalid_request", "response_type is missing"
	case one("response_type") != "code":
		code, why = "unsupported_response_type", "response_type must be code"
	case !scopeSyntax.MatchString(a.scope) || !within(requiredScope, a.scope):
		code, why = "invalid_scope", "scope must include profile email"
	case a.challenge != "" && method != "S256", a.challenge == "" && method != "":
		code, why = "invalid_request", "PKCE needs code_challenge and code_challenge_method=S256"
	case a.challenge != "" && !challengeSyntax.MatchString(a.challenge):
		code, why = "invalid_request", "code_challenge is malformed"
	default:
		return a, nil
	}
	r.Outcome = code
	answer := s.redirect(a, url.Values{"error": {code}, "error_description": {why}})
	return a, &answer
}

// redirect sends the browser back to the client (RFC 6749 4.1.2), keeping the
// redirect URI's own query.
func (s *Server) redirect(a authorization, params url.Values) Response {
	if a.state != "" {
		params.Set("state", a.state)
	}
	if s.settings.Issuer {
		params.Set("iss", s.URL)
	}
	u, err := url.Parse(a.redirectURI)
	if err != nil {
		u = &url.URL{Path: a.redirectURI}
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += params.Encode()
	return Response{http.StatusSeeOther, http.Header{
		"Location":        {u.String()},
		"Cache-Control":   {"no-store"},
		"Referrer-Policy": {"no-referrer"},
	}, nil}
}

func (s *Server) denied(r *Request, a authorization) Response {
	r.Outcome = "access_denied"
	return s.redirect(a, url.Values{"error": {"access_denied"}})
}

func (s *Server) allowed(r *Request, a authorization, userID string) Response {
	r.UserID = userID
	now := time.Now()
	for value, k := range s.codes {
		if now.Sub(k.expires) > time.Hour {
			delete(s.codes, value)
		}
	}
	random := make([]byte, 32)
	rand.Read(random)
	value := base64.StdEncoding.EncodeToString(random)
	s.codes[value] = &code{
		client: a.client, user: userID, redirectURI: a.redirectURI, scope: a.scope, challenge: a.challenge,
		expires: now.Add(s.settings.CodeLifetime),
	}
	return s.redirect(a, url.Values{"code": {value}})
}
