package mxmtest

import (
	"net/http"
	"time"
)

type metadataAnswer struct {
	Active bool   `json:"active"`
	Sub    string `json:"sub,omitempty"`
}

// introspect is POST /oauth/token-metadata. It knows the tokens of every client.
// It takes no client authentication, and refuses a client that sends its secret.
// A client-credentials token is active and has no sub.
func (s *Server) introspect(r *Request) Response {
	switch {
	case r.Method != http.MethodPost:
		return wrongMethod(r, http.MethodPost)
	case r.problem != "":
		return refuse(r, http.StatusBadRequest, "invalid_request", r.problem)
	case r.Header.Get("Authorization") != "" || r.Form.Has("client_secret"):
		return refuse(r, http.StatusBadRequest, "invalid_request", "no client authentication here")
	case r.Token == "":
		return refuse(r, http.StatusBadRequest, "invalid_request", "accessToken is missing")
	}
	now := time.Now()
	f, a := s.lookupAccess(r.Token)
	if a == nil || now.Sub(a.issued) < s.settings.BirthLag || !now.Before(a.expires) ||
		!a.killed.IsZero() && now.Sub(a.killed) >= s.settings.DeathLag {
		return jsonResponse(http.StatusOK, metadataAnswer{})
	}
	return jsonResponse(http.StatusOK, metadataAnswer{true, f.user})
}
