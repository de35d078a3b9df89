package core

import (
	"net/http"
	"net/url"
	"strings"
)

// Challenge answers a request that needs a user and has none. It redirects a
// navigation (303) to the login, which comes back to the same page. For any
// other request it writes nothing and returns [ErrNotSignedIn],
// [ErrNotConnected], or [ErrUnavailable] while nobody can say who is signed in.
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

// LoginURL returns the path where a browser starts to sign in. In connect mode
// it is the path to which a form is POSTed. The browser comes back to returnTo:
// a path on this site or a URL on a trusted origin, of at most 2 KiB and without
// a fragment. Any other returnTo means Config.AfterLogin.
func (a *Auth) LoginURL(returnTo string) string {
	start := a.site.browserPath(a.site.start)
	if returnTo == "" {
		return start
	}
	return start + "?" + url.Values{"return_to": {returnTo}}.Encode()
}

// requestedPath returns the path that the browser asked for, as the browser saw it.
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

// isNavigation reports whether a person would see the answer as a page. A script
// would follow a redirect of another request, and a form would lose its contents.
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
