package mxmtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"
	"slices"
)

// decisionPath takes the sign-in page's form.
const decisionPath = "/oauth/authorize/decision"

const style = `
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
body { margin: 0; padding: 0 1rem; background: Canvas; color: CanvasText }
main { max-width: 26rem; margin: 12vh auto 0 }
h1 { font-size: 1.5rem; line-height: 1.2; margin: .75rem 0 }
.fake { display: inline-block; padding: .1rem .6rem; border-radius: 1rem; background: #ffd54a; color: #222; font-size: .85rem }
fieldset { border: 1px solid GrayText; border-radius: .5rem; margin: 1.25rem 0; padding: .5rem 1rem }
label { display: flex; gap: .6rem; align-items: baseline; padding: .35rem 0 }
small { opacity: .75; overflow-wrap: anywhere }
button { font: inherit; padding: .5rem 1.25rem; border-radius: .5rem; border: 1px solid GrayText; background: transparent; color: inherit; cursor: pointer }
button[value=allow] { background: #c8371e; border-color: #c8371e; color: #fff; margin-right: .5rem }
`

var pages = template.Must(template.New("").Parse(`
{{define "head"}}<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{.Title}} · fake Musixmatch</title>
<style>{{.Style}}</style>
<main>
<span class="fake">Fake Musixmatch, for tests</span>
<h1>{{.Title}}</h1>{{end}}

{{define "sign-in"}}{{template "head" .}}
<p>The client <strong>{{.Client}}</strong> asks for: {{.Scope}}.</p>
<form method="post" action="{{.Action}}">
<input type="hidden" name="request" value="{{.Request}}">
<fieldset>
<legend>Who are you?</legend>
{{range $i, $u := .Users}}<label><input type="radio" name="user" value="{{$u.ID}}"{{if not $i}} checked{{end}}> <span>{{$u.Name}} <small>{{$u.ID}}</small></span></label>
{{end}}</fieldset>
<button name="decision" value="allow">Allow</button>
<button name="decision" value="deny">Deny</button>
</form>
</main>
{{end}}

{{define "error"}}{{template "head" .}}
<p>{{.Why}}</p>
<p><small>{{.Code}}</small></p>
</main>
{{end}}
`))

type pageData struct {
	Title           string
	Style           template.CSS
	Client, Scope   string
	Action, Request string
	Users           []user
	Code, Why       string
}

// page renders with a policy that allows its own style and form. formAction is
// where the form may lead: browsers apply it to redirects after a POST, too.
func page(status int, name string, data pageData, formAction string) Response {
	data.Style = style
	var body bytes.Buffer
	if err := pages.ExecuteTemplate(&body, name, data); err != nil {
		panic(err)
	}
	hash := sha256.Sum256([]byte(style))
	return Response{status, http.Header{
		"Content-Type":  {"text/html; charset=utf-8"},
		"Cache-Control": {"no-store"},
		"Content-Security-Policy": {"default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) +
			"'; form-action " + formAction + "; frame-ancestors 'none'; base-uri 'none'"},
		"Referrer-Policy":        {"no-referrer"},
		"X-Content-Type-Options": {"nosniff"},
	}, body.Bytes()}
}

func errorPage(r *Request, code, why string) Response {
	r.Outcome = code
	return page(http.StatusBadRequest, "error", pageData{Title: "This request is refused", Code: code, Why: why}, "'none'")
}

func (s *Server) signInPage(r *Request, a authorization) Response {
	r.Outcome = "page"
	return page(http.StatusOK, "sign-in", pageData{
		Title: "Sign in", Client: a.client, Scope: a.scope,
		Action: decisionPath, Request: r.rawQuery, Users: s.users,
	}, "'self' "+origin(a.redirectURI))
}

// origin is a CSP source that matches a redirect URI.
func origin(uri string) string {
	u, err := url.Parse(uri)
	switch {
	case err != nil || u.Scheme == "":
		return ""
	case u.Host == "":
		return u.Scheme + ":"
	}
	return u.Scheme + "://" + u.Host
}

// decide takes the sign-in page's form. The form carries the authorization
// request, which is checked again from the start.
func (s *Server) decide(r *Request) Response {
	if r.Method != http.MethodPost {
		return wrongMethod(r, http.MethodPost)
	}
	if r.problem != "" {
		return errorPage(r, "invalid_request", "The form is malformed: "+r.problem+".")
	}
	query, err := url.ParseQuery(r.Form.Get("request"))
	a, refused := s.checkAuthorization(r, query, err != nil)
	if refused != nil {
		return *refused
	}
	r.ClientID = a.client
	userID := r.Form.Get("user")
	switch r.Form.Get("decision") {
	case "deny":
		return s.denied(r, a)
	case "allow":
		if slices.ContainsFunc(s.users, func(u user) bool { return u.ID == userID }) {
			return s.allowed(r, a, userID)
		}
	}
	return errorPage(r, "invalid_request", "Go back, choose a user, and allow or deny.")
}
