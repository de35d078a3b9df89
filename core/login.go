package core

import "net/http"

// serveLogin sends the browser to Musixmatch. Of the query only return_to is
// read: no parameter of the authorization request comes from outside.
func (a *Auth) serveLogin(w http.ResponseWriter, r *http.Request, s *session) error {
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" && mode != "navigate" {
		return a.refusal(w, "login", ErrBadRequest, errNotNavigation)
	}
	if dest := r.Header.Get("Sec-Fetch-Dest"); r.Header.Get("Sec-Fetch-Site") == "cross-site" && (dest == "iframe" || dest == "frame") {
		return a.refusal(w, "login", ErrCrossOrigin, nil)
	}
	return a.startAuthorization(w, r, s, signInFlow, "", r.URL.Query().Get("return_to"))
}

// startAuthorization answers with the authorization request (RFC 6749 section
// 4.1.1, with PKCE S256 as RFC 9700 section 2.1.1 asks).
func (a *Auth) startAuthorization(w http.ResponseWriter, r *http.Request, s *session, purpose, appUser, returnTo string) error {
	state, f := a.startFlow(w, r, purpose, appUser, a.returnTo(returnTo))
	if err := s.save(w); err != nil {
		return a.refusal(w, "login", ErrUnavailable, err)
	}
	seeOther(w, a.musixmatch.AuthorizationURL(state, f.Verifier))
	return nil
}
