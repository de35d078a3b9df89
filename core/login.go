package core

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

// serveLogin sends the browser to Musixmatch. It reads only return_to of the
// query: no parameter of the authorization request comes from outside.
func (a *Auth) serveLogin(w http.ResponseWriter, r *http.Request, s *session.Session) error {
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" && mode != "navigate" {
		return a.errorResponse(w, "login", ErrBadRequest, errNotNavigation)
	}
	if isEmbedded(r) {
		if r.Header.Get("Sec-Fetch-Site") == "cross-site" {
			return a.errorResponse(w, "login", ErrCrossOrigin, nil)
		}
		return a.errorResponse(w, "login", ErrBadRequest, errNotNavigation)
	}
	if location := a.otherLoopbackHost(r); location != "" {
		if err := s.Save(w); err != nil {
			return a.errorResponse(w, "login", ErrUnavailable, err)
		}
		seeOther(w, location)
		return nil
	}
	return a.startAuthorization(w, r, s, "", r.URL.Query().Get("return_to"))
}

const (
	hostMark = "moved" // in the query of a login that otherLoopbackHost has moved
	maxHost  = 253     // RFC 1035 section 2.3.4
)

// otherLoopbackHost returns the login at RedirectURL's host if the sign-in
// begins at another name of this machine, such as localhost for 127.0.0.1. The
// browser would not send the attempt's cookie to the callback. It moves a
// browser once: a proxy may send its own Host with every request.
func (a *Auth) otherLoopbackHost(r *http.Request) (location string) {
	host, q := hostname(r.Host), r.URL.Query()
	if strings.EqualFold(host, a.site.host) || !musixmatch.IsLoopback(host) || !musixmatch.IsLoopback(a.site.host) || q.Has(hostMark) {
		return ""
	}
	moved := url.Values{hostMark: {"1"}}
	if returnTo := q.Get("return_to"); returnTo != "" && len(returnTo) <= maxReturnTo {
		moved.Set("return_to", returnTo)
	}
	return a.site.origin + a.LoginURL("") + "?" + moved.Encode()
}

func hostname(hostport string) string { return (&url.URL{Host: hostport}).Hostname() }

// startAuthorization redirects to the authorization request (RFC 6749 section
// 4.1.1), with PKCE S256 as RFC 9700 section 2.1.1 asks.
func (a *Auth) startAuthorization(w http.ResponseWriter, r *http.Request, s *session.Session, appUser, returnTo string) error {
	if host := hostname(r.Host); !strings.EqualFold(host, a.site.host) {
		a.warnOnce(&a.warned.host, r, "a sign-in began at another host than RedirectURL's; it ends in bad_state, unless a proxy has changed the Host header",
			slog.String("host", host[:min(len(host), maxHost)]), slog.String("redirect_url_host", a.site.host))
	}
	state, f := a.startFlow(w, r, appUser, a.returnTo(returnTo))
	if err := s.Save(w); err != nil {
		return a.errorResponse(w, "login", ErrUnavailable, err)
	}
	seeOther(w, a.musixmatch.AuthorizationURL(state, f.Verifier))
	return nil
}
