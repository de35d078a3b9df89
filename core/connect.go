package core

import (
	"errors"
	"net/http"

	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

var errNotNavigation = errors.New("a sign-in is a navigation, not a request by a script")

// serveConnect begins to connect Musixmatch to the user whom the application
// has signed in. It is a POST, so that no link can start it.
func (a *Auth) serveConnect(w http.ResponseWriter, r *http.Request, s *session.Session) error {
	appUser := s.AppUser(r.Context())
	if appUser == "" {
		return a.errorResponse(w, "connect", ErrNotSignedIn, nil)
	}
	return a.startAuthorization(w, r, s, appUser, r.FormValue("return_to"))
}
