package core

import (
	"net/http"
	"net/url"
	"strings"
)

// Challenge is for a request that needs a user and has none. It sends a
// navigation to the login, and back here afterwards, by a 303; for anything
// else it writes nothing and returns why: [ErrNotSignedIn], [ErrNotConnected],
// or [ErrUnavailable] while that cannot be known.
func (a *Auth) Challenge(w http.ResponseWriter, r *http.Request) error {
	s := a.sessions.From(r.Context())
	if s == nil {
		s, r = a.sessions.Load(r)
	}
	protect(w)
	if _, err := s.UserID(r.Context()); err != nil {
		return a.errorResponse(w, "challenge", ErrUnavailable, err)
	}
	if a.cfg.AppUser != nil {
		if s.AppUser(r.Context()) == "" {
			return a.errorResponse(w, "challenge", ErrNotSignedIn, nil)
		}
		return a.errorResponse(w, "challenge", ErrNotConnected, nil)
	}
	if !isNavigation(r) {
		return a.errorResponse(w, "challenge", ErrNotSignedIn, nil)
	}
	if err := s.Save(w); err != nil {
		return a.errorResponse(w, "challenge", ErrUnavailable, err)
	}
	seeOther(w, a.LoginURL(a.requestedPath(r)))
	return nil
}

// LoginURL is where a browser starts to sign in, and comes back to returnTo
// afterwards: a path on this site, or a URL on a trusted origin, of at most 2 KiB
// and without a fragment. "" and whatever else is not such a place mean
// Config.AfterLogin. In connect mode it is where a form is POSTed to.
func (a *Auth) LoginURL(returnTo string) string {
	start := a.site.browserPath(a.site.start)
	if returnTo == "" {
		return start
	}
	return start + "?" + url.Values{"return_to": {returnTo}}.Encode()
}

// requestedPath is what the browser asked for, as the browser saw it.
func (a *Auth) requestedPath(r *http.Request) string {
	target := r.RequestURI
	if !strings.HasPrefix(target, "/") {
		target = r.URL.RequestURI()
	}
	if len(target) > maxReturnTo {
		return ""
	}
	if prefix := a.cfg.PathPrefix; prefix != "" && within(target, prefix) {
		return target // http.StripPrefix takes the prefix from the path, and leaves it here
	}
	return a.site.browserPath(target)
}

// isNavigation reports whether a person would see the answer as a page. A
// redirect of any other request would be followed by a script, or lose a form.
func isNavigation(r *http.Request) bool {
	if r.Method != http.MethodGet {
		return false
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate" && r.Header.Get("Sec-Fetch-Dest") != "iframe"
	}
	return acceptsHTML(r)
}

func acceptsHTML(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}
