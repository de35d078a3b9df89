package musixmatch

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/url"
	"strings"

	"golang.org/x/oauth2"
)

const (
	maxStateSize = 256
	maxCodeSize  = 4 << 10
)

// AuthorizationURL is the authorization request (RFC 6749 section 4.1.1), with
// PKCE S256 as RFC 9700 section 2.1.1 asks. Both values must be base64url:
// nothing is escaped.
func (c *Client) AuthorizationURL(state, verifier string) string {
	return c.authorizationURL + "&state=" + state + "&code_challenge=" + oauth2.S256ChallengeFromVerifier(verifier)
}

// newAuthorizationURL is the part of the request that is always the same.
func newAuthorizationURL(o Options) string {
	return o.Endpoint.AuthURL + "?" + url.Values{
		"response_type":         {"code"},
		"client_id":             {o.ClientID},
		"redirect_uri":          {o.RedirectURL},
		"scope":                 {strings.Join(o.Scopes, " ")},
		"code_challenge_method": {"S256"},
	}.Encode()
}

// AuthorizationResponse is what came to the callback (RFC 6749 section 4.1.2),
// before anybody knows who sent it.
type AuthorizationResponse struct {
	State                string
	code, errorCode, iss string
}

// CheckedResponse is an authorization response that belongs to an attempt of
// this browser. Only [Client.Check] makes one, and [Client.Exchange] takes
// nothing else, so no edit can skip state or PKCE.
type CheckedResponse struct{ code, verifier string }

// What Check refuses.
var (
	ErrAccessDenied  = errors.New("access was denied")
	ErrAuthorization = errors.New("the authorization endpoint answered with an error")
	ErrIssuer        = errors.New("the answer names another issuer, or none")
	ErrState         = errors.New("the attempt belongs to another state")
)

// ReadAuthorizationResponse takes the parameters out of the query. "Parameters
// MUST NOT be included more than once" (RFC 6749 section 3.1); unknown ones are ignored.
func ReadAuthorizationResponse(query string) (AuthorizationResponse, error) {
	malformed := func(text string) (AuthorizationResponse, error) {
		return AuthorizationResponse{}, errors.New(text)
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return malformed("the query cannot be parsed")
	}
	for _, name := range []string{"state", "code", "error", "iss"} {
		if v, present := values[name]; present && (len(v) != 1 || v[0] == "") {
			return malformed(name + " is repeated or empty")
		}
	}
	r := AuthorizationResponse{
		State: values.Get("state"), code: values.Get("code"), errorCode: values.Get("error"), iss: values.Get("iss"),
	}
	switch {
	case r.State == "" || len(r.State) > maxStateSize:
		return malformed("state is missing or too long")
	case len(r.code) > maxCodeSize:
		return malformed("code is too long")
	case (r.code == "") == (r.errorCode == ""):
		return malformed("exactly one of code and error is needed")
	}
	return r, nil
}

// Check holds the response against the attempt that it claims to answer: the
// SHA-256 of its state, and its PKCE verifier. It does not use the network.
func (c *Client) Check(r AuthorizationResponse, stateSum []byte, verifier string) (CheckedResponse, error) {
	sum := sha256.Sum256([]byte(r.State))
	// RFC 9207 section 2.4. Without a known issuer there is nothing to compare.
	issuer := c.endpoint.Issuer
	switch {
	case subtle.ConstantTimeCompare(sum[:], stateSum) != 1:
		return CheckedResponse{}, ErrState
	case issuer != "" && r.iss != issuer && (r.iss != "" || c.endpoint.IssRequired):
		return CheckedResponse{}, ErrIssuer
	case r.errorCode == "access_denied":
		return CheckedResponse{}, ErrAccessDenied
	case r.errorCode != "":
		return CheckedResponse{}, ErrAuthorization
	}
	return CheckedResponse{code: r.code, verifier: verifier}, nil
}
