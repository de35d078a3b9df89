package thirdparty_test

import (
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/http/httptest"
	"testing"

	gorillacsrf "github.com/gorilla/csrf"
	"github.com/justinas/nosurf"
	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/nethttpmw"
)

var signOut = template.Must(template.New("").Parse(
	`<form method="post" action="{{.Action}}"><input type="hidden" name="{{.Field}}" value="{{.Token}}">` +
		`<button>Sign out</button></form>`))

func withNosurf(next http.Handler) http.Handler {
	protect := nosurf.New(next)
	protect.SetBaseCookie(http.Cookie{Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	protect.SetIsTLSFunc(func(r *http.Request) bool { return r.TLS != nil })
	return protect
}

func nosurfForm(auth *core.Auth) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_ = signOut.Execute(w, map[string]string{
			"Action": auth.LogoutURL(), "Field": nosurf.FormFieldName, "Token": nosurf.Token(r),
		})
	}
}

func gorillaForm(auth *core.Auth) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_ = signOut.Execute(w, map[string]string{
			"Action": auth.LogoutURL(), "Field": "gorilla.csrf.Token", "Token": gorillacsrf.Token(r),
		})
	}
}

func sessionHandler(auth *core.Auth) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{
			"user_id": nethttpmw.UserID(r), "login_url": auth.LoginURL(""), "logout_url": auth.LogoutURL(),
		})
	}
}

func withGorillaCSRF(next http.Handler) http.Handler {
	protected := gorillacsrf.Protect([]byte("0123456789abcdefghijklmnopqrstuv"), gorillacsrf.Secure(false), gorillacsrf.Path("/"))(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protected.ServeHTTP(w, gorillacsrf.PlaintextHTTPRequest(r)) // the tests use no TLS
	})
}

func nosurfField(r *http.Request) (field, token string) { return nosurf.FormFieldName, nosurf.Token(r) }

func gorillaField(r *http.Request) (field, token string) {
	return "gorilla.csrf.Token", gorillacsrf.Token(r)
}

func TestRecipes(t *testing.T) {
	auth, err := core.New(core.Config{ClientID: "id", ClientSecret: "secret", RedirectURL: "http://localhost/auth/musixmatch/callback"})
	require.NoError(t, err)
	ask := func(h http.Handler) string {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		return w.Body.String()
	}
	for field, page := range map[string]http.Handler{
		"csrf_token": withNosurf(nosurfForm(auth)), "gorilla.csrf.Token": withGorillaCSRF(gorillaForm(auth)),
	} {
		require.Regexp(t, fmt.Sprintf(`action="/auth/musixmatch/logout"><input type="hidden" name="%s" value="[^"]{40,}"`, field), ask(page))
	}
	require.JSONEq(t, `{"user_id":"","login_url":"/auth/musixmatch/login","logout_url":"/auth/musixmatch/logout"}`, ask(sessionHandler(auth)))
}
