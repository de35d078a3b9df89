package core

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

const (
	maxQuery = 8 << 10
	maxBody  = 8 << 10
)

var errClosing = errors.New("this instance is shutting down")

type handler func(w http.ResponseWriter, r *http.Request, s *session.Session) error

// get and post make a route that takes every method and refuses all but one, and
// those in also. Routers disagree about the others: Gin answers 404, Echo 405, and
// ServeMux runs a GET pattern for HEAD, which would consume a callback.
func (a *Auth) get(path string, serve handler, also ...string) Route {
	return a.route(path, append([]string{http.MethodGet}, also...), serve)
}

// post also refuses a request from another site's page.
func (a *Auth) post(path string, serve handler) Route {
	return a.route(path, []string{http.MethodPost}, func(w http.ResponseWriter, r *http.Request, s *session.Session) error {
		if !a.sameOrigin(r) {
			a.emit(r.Context(), Event{Kind: EventRefused, Reason: ErrCrossOrigin.Code})
			return a.errorResponse(w, "route", ErrCrossOrigin, nil)
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		if err := r.ParseForm(); err != nil {
			return a.errorResponse(w, "route", ErrBadRequest, errors.New("the form cannot be read"))
		}
		return serve(w, r, s)
	})
}

// sameOrigin reports whether this site or a trusted origin made the request.
// Where a browser sends no Sec-Fetch-Site, net/http compares only the host of
// Origin: a page of the same host's plain http, which anybody in between can
// write, would pass.
func (a *Auth) sameOrigin(r *http.Request) bool {
	if a.origin.Check(r) != nil {
		return false
	}
	origin := r.Header.Get("Origin")
	return r.Header.Get("Sec-Fetch-Site") != "" || origin == "" || !a.secure ||
		strings.HasPrefix(origin, "https:") || slices.Contains(a.cfg.TrustedOrigins, origin)
}

func (a *Auth) route(path string, methods []string, serve handler) Route {
	return Route{Path: path, Serve: func(w http.ResponseWriter, r *http.Request) error {
		protect(w)
		if !slices.Contains(methods, r.Method) {
			w.Header().Set("Allow", strings.Join(methods, ", "))
			return a.errorResponse(w, "route", ErrMethod, nil)
		}
		if len(r.URL.RawQuery) > maxQuery {
			return a.errorResponse(w, "route", ErrBadRequest, errors.New("the query is too long"))
		}
		if s := a.sessions.From(r.Context()); s != nil {
			return serve(w, r, s)
		}
		if !a.wrapped.Load() {
			a.warnOnce(&a.warned.middleware, r, "a route runs and Middleware has not run yet; without it UserID is empty on every page that RequireUser does not protect")
		}
		s, r := a.sessions.Load(r)
		err := serve(w, r, s)
		if saveErr := s.Save(w); err == nil && saveErr != nil {
			err = a.errorResponse(w, "route", ErrUnavailable, saveErr)
		}
		return err
	}}
}
