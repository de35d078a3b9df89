package core

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// Admit decides about a request that needs a user. It returns the request to go
// on with if one is signed in; [UserID] of its context is this Auth's user.
// Otherwise it returns nil: it has answered as [Auth.Challenge] does, or returns
// the error to answer with. A request to one of Routes is served here, so that a
// whole site can require a user. Call it inside [Auth.Wrap].
func (a *Auth) Admit(w http.ResponseWriter, r *http.Request) (*http.Request, error) {
	for _, route := range a.routes {
		if p := r.URL.Path; p == route.Path || p == a.site.browserPath(route.Path) {
			return nil, route.Serve(w, r)
		}
	}
	if s := a.sessions.From(r.Context()); s != nil {
		if user, _ := s.UserID(r.Context()); user != "" {
			return s.Require(r), nil
		}
	}
	return nil, a.Challenge(w, r)
}

// Challenge answers a request that needs a user and has none. It redirects a
// navigation (303) to the login, which comes back to the same page. For any
// other request it writes no body and returns [ErrNotSignedIn] with its LoginURL,
// [ErrNotConnected], or [ErrUnavailable] while nobody can say who is signed in.
func (a *Auth) Challenge(w http.ResponseWriter, r *http.Request) error {
	err := a.challenge(w, r)
	var e *Error
	if errors.As(err, &e) {
		a.emit(r.Context(), Event{Kind: EventRefused, Reason: e.Code, Err: e.Err})
	}
	return err
}

func (a *Auth) challenge(w http.ResponseWriter, r *http.Request) error {
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
		return a.notSignedIn(w, r, "challenge")
	}
	if err := s.Save(w); err != nil {
		return a.errorResponse(w, "challenge", ErrUnavailable, err)
	}
	seeOther(w, a.LoginURL(a.requestedPath(r)))
	return nil
}

// notSignedIn returns ErrNotSignedIn with the way in for a script. An htmx client
// follows it by itself, because HX-Redirect is a navigation. The browser comes
// back to the page that it shows, if that is ours.
func (a *Auth) notSignedIn(w http.ResponseWriter, r *http.Request, op string) error {
	login := a.LoginURL("")
	current, _, _ := strings.Cut(r.Header.Get("HX-Current-URL"), "#")
	if rest, ours := strings.CutPrefix(current, a.site.origin); ours {
		if page, ok := localPath(rest); ok {
			login = a.LoginURL(page)
		}
	}
	if isHTMX(r) {
		w.Header().Set("HX-Redirect", login)
	}
	err := a.errorResponse(w, op, ErrNotSignedIn, nil)
	err.LoginURL = login
	return err
}

// LoginURL returns the path where a browser starts to sign in. In connect mode
// it is the path to which a form is POSTed. The browser comes back to returnTo:
// a path on this site or a URL on a trusted origin, of at most 1 KiB and without
// a fragment. Any other returnTo means Config.AfterLogin. If a browser begins
// several sign-ins at once, only the last keeps a returnTo above 192 bytes.
func (a *Auth) LoginURL(returnTo string) string {
	start := a.site.browserPath(a.site.start)
	if returnTo == "" {
		return start
	}
	return start + "?" + url.Values{"return_to": {returnTo}}.Encode()
}

// LogoutURL returns the path to which a form is POSTed to sign out. In connect
// mode, where the application signs people out itself, it is "".
func (a *Auth) LogoutURL() string {
	if a.site.logout == "" {
		return ""
	}
	return a.site.browserPath(a.site.logout)
}

// DisconnectURL returns the path to which a form is POSTed to end the connection
// to Musixmatch.
func (a *Auth) DisconnectURL() string { return a.site.browserPath(a.site.disconnect) }

// ConnectURL returns the path to which a form is POSTed to connect Musixmatch.
// The form's field return_to is as that of [Auth.LoginURL]. In sign-in mode it is "".
func (a *Auth) ConnectURL() string {
	if a.cfg.AppUser == nil {
		return ""
	}
	return a.LoginURL("")
}

// requestedPath returns the path that the browser asked for, as the browser saw it.
func (a *Auth) requestedPath(r *http.Request) string {
	target := r.RequestURI
	if !strings.HasPrefix(target, "/") {
		target = r.URL.RequestURI()
	}
	if prefix := a.cfg.PathPrefix; prefix == "" || !within(target, prefix) {
		target = a.site.browserPath(target)
	} // else http.StripPrefix took the prefix from the path, and left it here
	if len(target) > maxReturnTo {
		return ""
	}
	return target
}

// isNavigation reports whether a person would see the answer as a page. A script
// would follow a redirect of another request, and a form would lose its contents.
func isNavigation(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || isHTMX(r) {
		return false
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		return mode == "navigate" && !isEmbedded(r)
	}
	return acceptsHTML(r)
}

// isEmbedded reports whether another page shows the answer inside itself.
func isEmbedded(r *http.Request) bool {
	dest := r.Header.Get("Sec-Fetch-Dest")
	return dest != "" && dest != "document"
}

func isHTMX(r *http.Request) bool { return r.Header.Get("HX-Request") == "true" }

func acceptsHTML(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}
