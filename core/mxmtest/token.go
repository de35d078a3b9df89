package mxmtest

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// code is an authorization code.
type code struct {
	client, user, redirectURI, scope, challenge string

	expires time.Time
	spent   bool
	family  int // what was issued for it
}

// tokenAnswer is RFC 6749 5.1.
type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    *int64 `json:"expires_in,omitempty"`
	RefreshToken string `json:"refresh_token,omitempty"`
	Scope        string `json:"scope,omitempty"`
}

// token is POST /oauth/token.
func (s *Server) token(r *Request) Response {
	c, refused := s.clientPost(r)
	if refused != nil {
		return *refused
	}
	switch r.GrantType {
	case "authorization_code":
		return s.exchange(r, c)
	case "refresh_token":
		return s.refresh(r, c)
	case "client_credentials":
		return s.clientCredentials(r, c)
	case "":
		return refuse(r, http.StatusBadRequest, "invalid_request", "grant_type is missing")
	}
	return refuse(r, http.StatusBadRequest, "unsupported_grant_type", "")
}

// clientPost makes the checks that the endpoints for authenticated clients share.
// It accepts credentials in the body only, as the contract says.
func (s *Server) clientPost(r *Request) (*client, *Response) {
	var a Response
	c := s.authenticate(r)
	switch {
	case r.Method != http.MethodPost:
		a = wrongMethod(r, http.MethodPost)
	case r.problem != "":
		a = refuse(r, http.StatusBadRequest, "invalid_request", r.problem)
	case len(r.Header.Values("Authorization")) > 0 && r.Form.Has("client_secret"):
		a = refuse(r, http.StatusBadRequest, "invalid_request", "more than one way of client authentication")
	case len(r.Header.Values("Authorization")) > 0:
		a = refuse(r, http.StatusUnauthorized, "invalid_client", "send client_id and client_secret in the body")
		a.Header.Set("WWW-Authenticate", `Basic realm="mxmtest"`) // RFC 6749 5.2 requires it
	case c == nil:
		a = refuse(r, http.StatusUnauthorized, "invalid_client", "unknown client, or wrong client_secret")
	default:
		return c, nil
	}
	return nil, &a
}

// RFC 7636 4.1.
var verifierSyntax = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)

// exchange is RFC 6749 4.1.3 with RFC 7636 4.6. If the client that a code was
// issued to presents it, the code is spent, whatever the answer.
func (s *Server) exchange(r *Request, c *client) Response {
	now := time.Now()
	invalidGrant := func(why string) Response {
		return refuse(r, http.StatusBadRequest, "invalid_grant", why)
	}
	verifier := r.Form.Get("code_verifier")
	if r.Token == "" || !r.Form.Has("redirect_uri") {
		return refuse(r, http.StatusBadRequest, "invalid_request", "code and redirect_uri are required")
	}
	if verifier != "" && !verifierSyntax.MatchString(verifier) {
		return refuse(r, http.StatusBadRequest, "invalid_request", "code_verifier is malformed")
	}
	k := s.codes[r.Token]
	if k == nil || k.client != c.id {
		return invalidGrant("the code is unknown")
	}
	if k.spent {
		// RFC 6749 4.1.2: revoke all tokens previously issued based on that code.
		r.Spent = true
		if f := s.families[k.family]; f != nil {
			f.revoke(now)
		}
		return invalidGrant("the code has been used before")
	}
	k.spent = true
	hash := sha256.Sum256([]byte(verifier))
	switch {
	case !now.Before(k.expires):
		return invalidGrant("the code has expired")
	case r.Form.Get("redirect_uri") != k.redirectURI:
		return invalidGrant("redirect_uri is not the one of the authorization request")
	case k.challenge == "" && verifier != "":
		return invalidGrant("code_verifier without a code_challenge") // RFC 9700 2.1.1
	case k.challenge != "" && verifier == "":
		return refuse(r, http.StatusBadRequest, "invalid_request", "code_verifier is missing")
	case k.challenge != "" && base64.RawURLEncoding.EncodeToString(hash[:]) != k.challenge:
		return invalidGrant("code_verifier does not match")
	}
	f, a := s.login(c.id, k.user, k.scope, now)
	k.family, r.Family = f.id, f.id
	return s.pair(f, a, true, now)
}

// refresh is RFC 6749 6, with the contract's rotation: the presented token and
// all related access tokens die, and a new pair is issued.
func (s *Server) refresh(r *Request, c *client) Response {
	now := time.Now()
	invalidGrant := func(why string) Response {
		return refuse(r, http.StatusBadRequest, "invalid_grant", why)
	}
	if r.Token == "" {
		return refuse(r, http.StatusBadRequest, "invalid_request", "refresh_token is missing")
	}
	f, kind, n := s.lookup(r.Token)
	if f == nil || kind != refreshKind || f.client != c.id {
		return invalidGrant("the refresh token is unknown")
	}
	spentOnArrival := r.Spent
	r.Spent = f.spent(n)
	switch {
	case !f.liveRefresh(now):
		return invalidGrant("the refresh token was revoked or has expired")
	case r.Spent && !spentOnArrival && s.settings.LoserInvalidRequest:
		return refuse(r, http.StatusBadRequest, "invalid_request", "another request is using this refresh token")
	case r.Spent && n == f.lastSpent && now.Sub(f.spentAt) < s.settings.Grace:
		return s.replayed(f, now)
	case r.Spent:
		if s.settings.Reuse == RevokeFamily {
			f.revoke(now)
		}
		return invalidGrant("the refresh token has been used before")
	case !within(r.Form.Get("scope"), f.scope):
		return refuse(r, http.StatusBadRequest, "invalid_scope", "more than was granted")
	}
	s.killRelated(f, now)
	a := s.issueAccess(f, now)
	if !s.settings.NoRotation {
		f.spend(n, now)
		s.issueRefresh(f, now)
	}
	return s.pair(f, a, !s.settings.NoRotation, now)
}

// replayed answers to a spent refresh token within the grace period.
func (s *Server) replayed(f *family, now time.Time) Response {
	switch s.settings.GraceAnswer {
	case NewPair:
		s.killRelated(f, now)
		f.unspent = nil
		s.issueRefresh(f, now)
	case AnotherPair:
		f.unspent = append(f.unspent, f.refresh)
		s.issueRefresh(f, now)
	default:
		if a := f.newest(now); a != nil {
			return s.pair(f, a, true, now)
		}
	}
	return s.pair(f, s.issueAccess(f, now), true, now)
}

// killRelated kills the access tokens that a refresh ends.
func (s *Server) killRelated(f *family, now time.Time) {
	switch s.settings.Kill {
	case PerLogin:
		f.kill(now)
	case PerUser:
		s.each(f.client, f.user, func(f *family) { f.kill(now) })
	}
}

// clientCredentials is RFC 6749 4.4. Its answer has no refresh token (4.4.3).
func (s *Server) clientCredentials(r *Request, c *client) Response {
	scope := r.Form.Get("scope")
	if !scopeSyntax.MatchString(scope) && scope != "" {
		return refuse(r, http.StatusBadRequest, "invalid_scope", "scope is malformed")
	}
	if scope == "" {
		scope = "api"
	}
	now := time.Now()
	f := s.newFamily(c.id, "", scope)
	r.Family = f.id
	return s.pair(f, s.issueAccess(f, now), false, now)
}

func (s *Server) pair(f *family, a *access, refresh bool, now time.Time) Response {
	t := tokenAnswer{
		AccessToken: s.mint(accessKind, f, a.n),
		TokenType:   "Bearer",
		Scope:       f.scope,
	}
	if !s.settings.NoExpiresIn {
		t.ExpiresIn = new(int64(a.expires.Sub(now) / time.Second))
	}
	if refresh {
		t.RefreshToken = s.mint(refreshKind, f, f.refresh)
	}
	return jsonResponse(http.StatusOK, t)
}

// within reports whether every scope of a is one of b's.
func within(a, b string) bool {
	granted := strings.Fields(b)
	return !slices.ContainsFunc(strings.Fields(a), func(one string) bool { return !slices.Contains(granted, one) })
}
