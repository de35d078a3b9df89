// Package page writes the examples' HTML. All pages share one style, use no
// script, and have a policy that loads nothing from other sites.
package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strings"
)

var (
	//go:embed page.css
	style string
	//go:embed layout.html
	layout string

	styleHash = func() string {
		hash := sha256.Sum256([]byte(style))
		return base64.StdEncoding.EncodeToString(hash[:])
	}()
)

// Parse returns a page of the templates "title", "heading", "main" and "footer" in
// source, each for the value that Write is given.
func Parse(source string) *template.Template {
	t := template.New("page").Funcs(template.FuncMap{"style": func() template.CSS { return template.CSS(style) }})
	return template.Must(template.Must(t.Parse(layout)).Parse(source))
}

// Write answers with a status and a page. Its forms may lead to this site and to formOrigins. A
// browser checks the redirects that answer a form, too.
func Write(w http.ResponseWriter, status int, t *template.Template, data any, formOrigins ...string) error {
	var body bytes.Buffer
	if err := t.Execute(&body, data); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'sha256-"+styleHash+"'; img-src data:; form-action "+
		strings.Join(append([]string{"'self'"}, formOrigins...), " ")+"; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "same-origin") // with no-referrer, forms would say Origin: null
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes())
	return nil
}
