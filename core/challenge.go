package core

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

type userContextKey struct{}

// UserID returns the Musixmatch user ID of the request whose context ctx is,
// or "" if nobody is signed in. In connect mode it is the user that
// Config.LinkedUser names for the application's user.
func UserID(ctx context.Context) string {
	switch v := ctx.Value(userContextKey{}).(type) {
	case *session:
		user, _ := v.userID(ctx)
		return user
	case string:
		return v
	}
	return ""
}

// WithUserID returns ctx as it is when userID is signed in: for the
// application's own tests of what stands behind the sign-in.
func WithUserID(ctx context.Context, userID string) context.Context {
	return context.WithValue(ctx, userContextKey{}, userID)
}

// link is whom the application has linked to one of its users.
type link struct {
	sync.Mutex
	appUser, user string
	err           error
}

func (s *session) userID(ctx context.Context) (string, error) {
	if s.auth.cfg.AppUser == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.user, s.unavailable
	}
	appUser := s.applicationUser(ctx)
	if appUser == "" || s.auth.cfg.LinkedUser == nil {
		return "", nil
	}
	l := &s.link
	l.Lock()
	defer l.Unlock()
	if l.appUser != appUser {
		user, err := s.auth.cfg.LinkedUser(ctx, appUser)
		if err != nil {
			user = ""
		}
		l.appUser, l.user, l.err = appUser, user, err
	}
	return l.user, l.err
}

// applicationUser is who the application has signed in, in connect mode. It
// asks with the caller's context: the middleware that signs people in may
// stand between ours and the handler.
func (s *session) applicationUser(ctx context.Context) string {
	if s.auth.cfg.AppUser == nil {
		return ""
	}
	return s.auth.cfg.AppUser(s.request.WithContext(ctx))
}

// Challenge is for a request that needs a user and has none. It sends a
// navigation to the login, and back here afterwards, by a 303; for anything
// else it writes nothing and returns why: [ErrNotSignedIn], [ErrNotConnected],
// or [ErrUnavailable] while that cannot be known.
func (a *Auth) Challenge(w http.ResponseWriter, r *http.Request) error {
	s := a.sessionOf(r.Context())
	if s == nil {
		s, r = a.load(r)
	}
	protect(w)
	if _, err := s.userID(r.Context()); err != nil {
		return a.refusal(w, "challenge", ErrUnavailable, err)
	}
	if a.cfg.AppUser != nil {
		if s.applicationUser(r.Context()) == "" {
			return a.refusal(w, "challenge", ErrNotSignedIn, nil)
		}
		return a.refusal(w, "challenge", ErrNotConnected, nil)
	}
	if !isNavigation(r) {
		return a.refusal(w, "challenge", ErrNotSignedIn, nil)
	}
	if err := s.save(w); err != nil {
		return a.refusal(w, "challenge", ErrUnavailable, err)
	}
	seeOther(w, a.LoginURL(a.requestedPath(r)))
	return nil
}

// LoginURL is where a browser starts to sign in, and comes back to returnTo
// afterwards: a path on this site, or a URL on a trusted origin, of at most 2 KiB
// and without a fragment. "" and whatever else is not such a place mean
// Config.AfterLogin. In connect mode it is where a form is POSTed to.
func (a *Auth) LoginURL(returnTo string) string {
	start := a.browserPath(a.cfg.BasePath + "/login")
	if a.cfg.AppUser != nil {
		start = a.browserPath(a.cfg.BasePath + "/connect")
	}
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
	return a.browserPath(target)
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
