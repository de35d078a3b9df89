package core

import (
	"net/http"

	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

// serveLogin sends the browser to Musixmatch. It reads only return_to of the
// query: no parameter of the authorization request comes from outside.
func (a *Auth) serveLogin(w http.ResponseWriter, r *http.Request, s *session.Session) error {
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" && mode != "navigate" {
		return a.errorResponse(w, "login", ErrBadRequest, errNotNavigation)
	}
	if dest := r.Header.Get("Sec-Fetch-Dest"); r.Header.Get("Sec-Fetch-Site") == "cross-site" && (dest == "iframe" || dest == "frame") {
		return a.errorResponse(w, "login", ErrCrossOrigin, nil)
	}
	return a.startAuthorization(w, r, s, signInFlow, "", r.URL.Query().Get("return_to"))
}

// startAuthorization redirects to the authorization request (RFC 6749 section
// 4.1.1), with PKCE S256 as RFC 9700 section 2.1.1 asks.
func (a *Auth) startAuthorization(w http.ResponseWriter, r *http.Request, s *session.Session, purpose, appUser, returnTo string) error {
	state, f := a.startFlow(w, r, purpose, appUser, a.returnTo(returnTo))
	if err := s.Save(w); err != nil {
		return a.errorResponse(w, "login", ErrUnavailable, err)
	}
	seeOther(w, a.musixmatch.AuthorizationURL(state, f.Verifier))
	return nil
}
