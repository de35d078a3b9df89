package mxmtest

import (
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Endpoint names a part of the Server, for [Server.Fail] and [Request].
type Endpoint string

// The endpoints.
const (
	Authorize  Endpoint = "authorize"      // also the sign-in page's form
	Token      Endpoint = "token"          // /oauth/token
	Metadata   Endpoint = "token-metadata" // /oauth/token-metadata
	Discovery  Endpoint = "discovery"      // the two documents under /.well-known
	Revocation Endpoint = "revocation"     // /oauth/revoke
	API        Endpoint = "api"            // /whoami
)

// OK is the Outcome of a request that succeeded.
const OK = "ok"

// Request is what the Server recorded of one request: what arrived, and what the
// Server decided. It contains tokens and secrets in the clear. The maps are
// shared: do not write to them.
type Request struct {
	Endpoint Endpoint
	Time     time.Time // of arrival
	Method   string
	Path     string
	Header   http.Header
	Query    url.Values
	Form     url.Values // of a form body
	Body     []byte

	GrantType string // at Token
	ClientID  string // as claimed
	Token     string // the refresh token, code or access token presented
	UserID    string // the owner of Token, dead or alive, if the Server still knows; at Authorize, who allowed
	Family    int    // the login that Token came from, or that the request began; see [Family]

	// Spent reports that the presented refresh token or code was spent already,
	// when the request arrived or when it was processed.
	Spent bool

	// Outcome is OK or the error code of the Server's decision: an OAuth error
	// code, "method_not_allowed", "not_found", or "page" for the sign-in page.
	// It is empty until the request is processed. If Faulted, the answer that
	// was sent may differ.
	Outcome string
	Status  int  // of the decision; 0 if not processed
	Faulted bool // a fault interfered

	problem  string // what is wrong with the form, if anything
	queryBad bool
	rawQuery string
}

// Requests returns what has arrived at an endpoint since the start or the last
// [Server.ResetRequests], in order of arrival.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := make([]Request, len(s.log))
	for i, r := range s.log {
		log[i] = *r
	}
	return log
}

// ResetRequests forgets the recorded requests.
func (s *Server) ResetRequests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = nil
}

// arrived records a request and finds the faults that wait for it.
func (s *Server) arrived(endpoint Endpoint, hr *http.Request, body []byte, tooLarge bool) (*Request, []Fault) {
	query, queryErr := url.ParseQuery(hr.URL.RawQuery)
	r := &Request{
		Endpoint: endpoint,
		Time:     time.Now(),
		Method:   hr.Method,
		Path:     hr.URL.Path,
		Header:   hr.Header.Clone(),
		Query:    query,
		Body:     body,
		queryBad: queryErr != nil,
		rawQuery: hr.URL.RawQuery,
	}
	r.readForm(hr, tooLarge)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.identify(r)
	if len(s.log) >= max(s.settings.KeepRequests, 2) {
		s.log = slices.Clone(s.log[(len(s.log)+1)/2:])
	}
	s.log = append(s.log, r)
	faults := s.takeFaults(r)
	r.Faulted = len(faults) > 0
	return r, faults
}

// readForm reads a form body by the rules of RFC 6749 3.2. r.problem says what is
// wrong: parameters in the URL, another content type, a parameter sent twice. A
// parameter without a value counts as missing.
func (r *Request) readForm(hr *http.Request, tooLarge bool) {
	types := hr.Header.Values("Content-Type")
	var mediaType string
	if len(types) == 1 {
		mediaType, _, _ = mime.ParseMediaType(types[0])
	}
	form, err := url.ParseQuery(string(r.Body))
	r.Form = url.Values{}
	switch {
	case mediaType != "application/x-www-form-urlencoded":
		r.problem = "the body must be application/x-www-form-urlencoded"
		return
	case tooLarge:
		r.problem = "the body is too large"
		return
	case err != nil:
		r.problem = "the body is not a well-formed form"
	}
	for name, values := range form {
		if values = slices.DeleteFunc(values, func(v string) bool { return v == "" }); len(values) > 0 {
			r.Form[name] = values
		}
		if len(values) > 1 {
			r.problem = "a parameter was sent more than once"
		}
	}
	if hr.URL.RawQuery != "" {
		r.problem = "parameters belong into the body, not into the URL"
	}
}

// identify records which token or code the request presents, and whose it is.
func (s *Server) identify(r *Request) {
	switch r.Endpoint {
	case Authorize:
		r.ClientID = r.Query.Get("client_id")
	case Token:
		r.ClientID = r.Form.Get("client_id")
		r.GrantType = r.Form.Get("grant_type")
		if r.GrantType == "authorization_code" {
			r.Token = r.Form.Get("code")
			if c := s.codes[r.Token]; c != nil {
				r.UserID, r.Family, r.Spent = c.user, c.family, c.spent
			}
			return
		}
		r.Token = r.Form.Get("refresh_token")
	case Metadata:
		r.Token = r.Form.Get("accessToken")
	case Revocation:
		r.ClientID = r.Form.Get("client_id")
		r.Token = r.Form.Get("token")
	case API:
		r.Token, _ = bearer(r.Header)
	}
	if f, kind, n := s.lookup(r.Token); f != nil {
		r.UserID, r.Family = f.user, f.id
		r.Spent = kind == refreshKind && f.spent(n)
	}
}

// bearer returns the token of an Authorization header (RFC 6750 2.1).
func bearer(h http.Header) (token string, ok bool) {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	return strings.TrimLeft(token, " "), ok && strings.EqualFold(scheme, "Bearer")
}
