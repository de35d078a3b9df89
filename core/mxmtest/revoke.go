package mxmtest

import (
	"net/http"
	"time"
)

// revoke is RFC 7009. Revoking a refresh token ends its family, revoking an access
// token ends that token alone, and an unknown token is not an error.
func (s *Server) revoke(r *Request) Response {
	if !s.settings.Revocation {
		return refuse(r, http.StatusNotFound, "not_found", "")
	}
	c, refused := s.clientPost(r)
	if refused != nil {
		return *refused
	}
	if r.Token == "" {
		return refuse(r, http.StatusBadRequest, "invalid_request", "token is missing")
	}
	now := time.Now()
	f, kind, _ := s.lookup(r.Token)
	switch {
	case f == nil:
	case f.client != c.id:
		return refuse(r, http.StatusBadRequest, "invalid_grant", "the token belongs to another client")
	case kind == refreshKind:
		f.revoke(now)
	default:
		if _, a := s.lookupAccess(r.Token); a != nil && a.live(now) {
			a.killed = now
		}
	}
	return Response{Status: http.StatusOK, Header: http.Header{"Cache-Control": {"no-store"}}}
}
