package core

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
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
	e.login, e.home = a.waysOn(outcome.Code)
	return e
}

// waysOn returns the links on the page of an error: the login, if that helps and
// a link can start it, and AfterLogin.
func (a *Auth) waysOn(code string) (login, home string) {
	if a.cfg.AppUser == nil {
		switch code {
		case ErrNotSignedIn.Code, ErrReconnect.Code, ErrState.Code, ErrDenied.Code, ErrUpstream.Code,
			ErrUnavailable.Code, ErrBadRequest.Code, ErrLoginRefused.Code:
			login = a.LoginURL("")
		}
	}
	return login, a.afterLogin()
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
		login, home := e.login, e.home
		if a, ok := session.Owner(r.Context()).(*Auth); ok && home == "" {
			login, home = a.waysOn(e.Code)
		}
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", contentPolicy)
		w.WriteHeader(status)
		writePage(w, e, login, home)
		return
	}
	h.Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct {
		Error    string `json:"error"`
		LoginURL string `json:"login_url,omitempty"`
	}{e.Code, e.LoginURL})
}

// writePage writes the page of an error. html/template would cost every program
// that uses this package 3 MB: the linker keeps all methods for it.
func writePage(w io.Writer, e *Error, login, home string) {
	links := `<a href="` + html.EscapeString(cmp.Or(home, "/")) + `">Go to the start page</a>`
	if login != "" {
		links = `<a class="button" href="` + html.EscapeString(login) + `">Sign in with Musixmatch</a> ` + links
	}
	title := html.EscapeString(pageTitle(e.Code))
	_, _ = fmt.Fprintf(w, errorPage, title, errorStyle, title, html.EscapeString(pageText(e)), links, html.EscapeString(e.Code))
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

const errorPage = `<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%s</title>
<style>%s</style>
<main>
<h1>%s</h1>
<p>%s</p>
<p>%s</p>
<p><code>%s</code></p>
</main>
</html>
`

const errorStyle = `:root{color-scheme:light dark;--ink:#1c1b22;--soft:#5d5b66;--paper:#f6f5f8;--card:#fff;--line:#dcdae3;--accent:#b4232c;--on-accent:#fff}` +
	`@media(prefers-color-scheme:dark){:root{--ink:#eceaf2;--soft:#aba8b8;--paper:#131217;--card:#1d1c23;--line:#37353f;--accent:#ff8a80;--on-accent:#2a0c0b}}` +
	`body{margin:0;padding:12vh 1.25rem 3rem;font:1.0625rem/1.55 system-ui,sans-serif;color:var(--ink);background:var(--paper)}` +
	`main{max-width:32rem;margin:0 auto;padding:1.75rem;border:1px solid var(--line);border-radius:.875rem;background:var(--card)}` +
	`h1{margin:0 0 .5rem;font-size:1.75rem;line-height:1.2}a{margin-right:1rem;color:var(--accent)}code{color:var(--soft)}` +
	`.button{display:inline-block;padding:.5rem 1.25rem;border-radius:.5rem;font-weight:600;text-decoration:none;color:var(--on-accent);background:var(--accent)}`

// contentPolicy forbids everything but the style of the error page.
var contentPolicy = func() string {
	hash := sha256.Sum256([]byte(errorStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()
