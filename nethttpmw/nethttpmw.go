// Package nethttpmw signs users in with Musixmatch in applications on net/http,
// with http.ServeMux, chi, or any router that takes an http.Handler.
//
// Print r.URL.Path in an access log, never r.URL or r.RequestURI, as chi's
// middleware.Logger does: the callback's query contains a one-time code.
//
// A handler answers an error of [core.Auth.Client] with that error's status and a
// page or JSON by one line:
//
//	core.WriteError(w, r, err)
package nethttpmw

import (
	"net/http"

	"github.com/mxmconnect/mxmconnect/core"
)

// Mux is what Mount adds routes to: *http.ServeMux, chi.Router and others.
type Mux interface {
	Handle(pattern string, handler http.Handler)
}

// Mount adds the routes of core: login, callback, logout and disconnect; in
// connect mode connect, callback and disconnect. Their paths come from
// core.Config, so mux must see whole paths, with no prefix removed.
//
// A route takes every method. http.ServeMux panics if you also register a
// catch-all for one method, such as "GET /": use "/" or "GET /{$}".
func Mount(mux Mux, auth *core.Auth) {
	for _, route := range auth.Routes() {
		mux.Handle(route.Path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := route.Serve(w, r); err != nil {
				render(auth, w, r, err)
			}
		}))
	}
}

// Middleware puts the session and the user ID into the request's context, and
// saves the session before the first byte of the answer.
func Middleware(auth *core.Auth) func(http.Handler) http.Handler {
	auth.Routes() // panics now if auth cannot serve requests
	return auth.Wrap
}

// RequireUser lets only signed-in users through, and UserID behind it is auth's
// user. It redirects everybody else to the login if the browser navigates, and
// answers with an error otherwise. It works without Middleware. Around a whole
// site it serves the routes of auth itself.
func RequireUser(auth *core.Auth) func(http.Handler) http.Handler {
	auth.Routes() // panics now if auth cannot serve requests
	return func(next http.Handler) http.Handler {
		return auth.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			admitted, err := auth.Admit(w, r)
			if err != nil {
				render(auth, w, r, err)
			} else if admitted != nil {
				next.ServeHTTP(w, admitted)
			}
		}))
	}
}

// UserID returns the Musixmatch user ID of the signed-in user, or "".
func UserID(r *http.Request) string {
	return core.UserID(r.Context())
}

func render(auth *core.Auth, w http.ResponseWriter, r *http.Request, err error) {
	if !auth.HandleError(w, r, err) {
		core.WriteError(w, r, err)
	}
}
