package mxmtest

import (
	"net/http"
	"time"
)

// whoami is the protected API. It returns the user of a user's token, and the
// client of a client-credentials token. It takes any method, so that a test can
// see a body arrive; see [Request].
func (s *Server) whoami(r *Request) Response {
	token, ok := bearer(r.Header)
	if !ok {
		a := refuse(r, http.StatusUnauthorized, "unauthorized", "")
		a.Header.Set("WWW-Authenticate", `Bearer realm="mxmtest"`)
		return a
	}
	f, a := s.lookupAccess(token)
	if a == nil || !a.live(time.Now()) {
		a := refuse(r, http.StatusUnauthorized, "invalid_token", "")
		a.Header.Set("WWW-Authenticate", `Bearer realm="mxmtest", error="invalid_token"`)
		return a
	}
	if f.user == "" {
		return jsonResponse(http.StatusOK, map[string]string{"client_id": f.client})
	}
	return jsonResponse(http.StatusOK, map[string]string{"sub": f.user})
}
