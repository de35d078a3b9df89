package mxmtest

import (
	"net/http"
	"strconv"
	"time"
)

type metadataAnswer struct {
	Active bool   `json:"active"`
	Sub    string `json:"sub,omitempty"`
}

// introspect is POST /oauth/token-metadata. It knows the tokens of every client.
// Unless MetadataAuth is set, it takes no client authentication, and refuses a
// client that sends its secret.
// A client-credentials token is active and has no sub.
func (s *Server) introspect(r *Request) Response {
	now := time.Now()
	if s.settings.MetadataAuth {
		if _, refused := s.clientPost(r); refused != nil {
			return *refused
		}
	}
	switch wait := s.tooOften(now); {
	case wait > 0:
		a := refuse(r, http.StatusTooManyRequests, "rate_limited", "")
		a.Header.Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
		return a
	case r.Method != http.MethodPost:
		return wrongMethod(r, http.MethodPost)
	case r.problem != "":
		return refuse(r, http.StatusBadRequest, "invalid_request", r.problem)
	case s.settings.MetadataAuth:
	case r.Header.Get("Authorization") != "" || r.Form.Has("client_secret"):
		return refuse(r, http.StatusBadRequest, "invalid_request", "no client authentication here")
	}
	if r.Token == "" {
		return refuse(r, http.StatusBadRequest, "invalid_request", "accessToken is missing")
	}
	f, a := s.lookupAccess(r.Token)
	if a == nil || now.Sub(a.issued) < s.settings.BirthLag || !now.Before(a.expires) ||
		!a.killed.IsZero() && now.Sub(a.killed) >= s.settings.DeathLag {
		return jsonResponse(http.StatusOK, metadataAnswer{})
	}
	return jsonResponse(http.StatusOK, metadataAnswer{true, f.user})
}

// tooOften counts a call to token-metadata, and returns how long the client must
// wait if that is one too many.
func (s *Server) tooOften(now time.Time) (wait time.Duration) {
	if s.settings.MetadataCalls == 0 {
		return 0
	}
	if now.Sub(s.windowStart) >= s.settings.MetadataWindow {
		s.windowStart, s.windowCalls = now, 0
	}
	if s.windowCalls++; s.windowCalls > s.settings.MetadataCalls {
		return s.settings.MetadataWindow - now.Sub(s.windowStart)
	}
	return 0
}
