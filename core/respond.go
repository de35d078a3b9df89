package core

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"html/template"
	"net/http"

	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

// retryAfter is the value of Retry-After, in seconds, of a 503.
const retryAfter = "5"

// errorResponse returns the error of an outcome, and sets the headers that
// belong to it: a framework's own error handler keeps them.
func (a *Auth) errorResponse(w http.ResponseWriter, op string, outcome *Error, cause error) *Error {
	protect(w)
	if outcome.Code == ErrUnavailable.Code {
		w.Header().Set("Retry-After", retryAfter)
	}
	e := fail(op, outcome, cause)
	e.forward, e.login = a.wayForward(outcome.Code)
	return e
}

// wayForward returns the link on the page of an error: the login if that helps
// and a link can start it, otherwise AfterLogin.
func (a *Auth) wayForward(code string) (forward string, login bool) {
	if a.cfg.AppUser == nil {
		switch code {
		case ErrNotSignedIn.Code, ErrReconnect.Code, ErrState.Code, ErrDenied.Code, ErrUpstream.Code,
			ErrUnavailable.Code, ErrBadRequest.Code, ErrLoginRefused.Code:
			return a.LoginURL(""), true
		}
	}
	return a.afterLogin(), false
}

// protect keeps an answer of this package out of caches, frames and Referer
// headers, and forbids it to load anything (RFC 9700 sections 4.2 and 4.12).
func protect(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
}

// seeOther redirects with a GET. It writes Location unchanged: http.Redirect
// would clean the path, and turn some paths into another origin.
func seeOther(w http.ResponseWriter, location string) {
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusSeeOther)
}

// HandleError renders err with Config.ErrorHandler and reports true. Without an
// ErrorHandler it reports false, and the adapter renders err in its own idiom.
func (a *Auth) HandleError(w http.ResponseWriter, r *http.Request, err error) bool {
	if a.cfg.ErrorHandler == nil {
		return false
	}
	a.cfg.ErrorHandler(w, r, err)
	return true
}

// WriteError writes err as {"error":"code"}, with "login_url" if it has one. If the request accepts text/html,
// it writes a small page with the same code and a link to go on. It fits
// Config.ErrorHandler. An error that is not an [*Error] is "internal", status
// 500. Nothing that came with the request is echoed. For the application's own
// errors the link is right only inside [Auth.Wrap]; elsewhere it leads to "/".
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = errInternal
	}
	h := w.Header()
	for _, name := range []string{"Content-Length", "ETag", "Last-Modified", "Expires"} {
		h.Del(name) // the handler's, for the answer that did not come about
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if e.Status == http.StatusServiceUnavailable && h.Get("Retry-After") == "" {
		h.Set("Retry-After", retryAfter)
	}
	status := e.Status
	if status < 400 || status > 599 {
		status = http.StatusInternalServerError
	}
	if acceptsHTML(r) {
		forward, login := e.forward, e.login
		if a, ok := session.Owner(r.Context()).(*Auth); ok && forward == "" {
			forward, login = a.wayForward(e.Code)
		}
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", contentPolicy)
		w.WriteHeader(status)
		_ = errorPage.Execute(w, errorView{
			Title: pageTitle(e.Code), Text: pageText(e), Code: e.Code,
			Forward: cmp.Or(forward, "/"), Login: login, Style: template.CSS(errorStyle),
		})
		return
	}
	h.Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct {
		Error    string `json:"error"`
		LoginURL string `json:"login_url,omitempty"`
	}{e.Code, e.LoginURL})
}

type errorView struct {
	Title, Text, Code, Forward string
	Login                      bool
	Style                      template.CSS
}

func pageTitle(code string) string {
	switch code {
	case "not_signed_in":
		return "Please sign in"
	case "denied":
		return "Nothing was connected"
	case "reconnect", "not_connected":
		return "Please connect to Musixmatch"
	case "not_found":
		return "Not found"
	case "unavailable", "upstream":
		return "That did not work just now"
	}
	return "That did not work"
}

func pageText(e *Error) string {
	switch e.Code {
	case "not_signed_in":
		return "This page is for people who have signed in."
	case "bad_state":
		return "This sign-in was started too long ago, in another browser or at another address. Nothing has changed; please start again."
	case "denied":
		return "You did not allow access at Musixmatch. You can start again whenever you like."
	case "upstream":
		return "Musixmatch gave an answer that we could not use. Nothing has changed; please try again."
	case "unavailable":
		return "A service that we need does not answer at the moment. Please try again in a few seconds. If you were signing out, close the browser as well: you may be signed in until the session expires."
	case "user_changed":
		return "You changed accounts while connecting to Musixmatch. Nothing was connected; please start again."
	case "not_connected":
		return "Your account is not connected to Musixmatch yet."
	case "reconnect":
		return "Your connection to Musixmatch has ended. Please connect again."
	case "login_refused":
		return "This Musixmatch account cannot be used here."
	case "cross_origin":
		return "This request came from another site, so it was not carried out."
	case "not_found":
		return "There is nothing at this address."
	case "method_not_allowed":
		return "This address cannot be opened like that."
	case "bad_request":
		return "The request was incomplete or out of order. Please start again."
	case errInternal.Code, "":
		return "Something went wrong on our side."
	}
	return e.Description // an application's own
}

const errorStyle = `body{font:17px/1.5 system-ui,sans-serif;max-width:32rem;margin:18vh auto 0;padding:0 1.5rem;color:#1c1b22;background:#fff}` +
	`h1{font-size:1.6rem;line-height:1.2}a{color:#b4232c}code{color:#66646e}` +
	`@media(prefers-color-scheme:dark){body{color:#eceaf2;background:#17161b}a{color:#ff8a80}code{color:#a5a2b0}}`

// contentPolicy forbids everything but the style of the error page.
var contentPolicy = func() string {
	hash := sha256.Sum256([]byte(errorStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()

var errorPage = template.Must(template.New("error").Parse(`<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}}</title>
<style>{{.Style}}</style>
<main>
<h1>{{.Title}}</h1>
<p>{{.Text}}</p>
<p><a href="{{.Forward}}">{{if .Login}}Sign in with Musixmatch{{else}}Go back{{end}}</a></p>
<p><code>{{.Code}}</code></p>
</main>
</html>
`))
