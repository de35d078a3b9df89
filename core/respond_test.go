package core_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
)

// An application renders its own errors, and those of a Client, with WriteError:
// 503 says when to come back, whoever returned it.
func TestWriteErrorForApplications(t *testing.T) {
	w := httptest.NewRecorder()
	core.WriteError(w, httptest.NewRequest("GET", "/", nil), core.ErrUnavailable)
	require.Equal(t, 503, w.Code)
	require.Equal(t, "5", w.Header().Get("Retry-After"))

	w = httptest.NewRecorder()
	w.Header().Set("Retry-After", "60")
	core.WriteError(w, httptest.NewRequest("GET", "/", nil), core.ErrUnavailable)
	require.Equal(t, "60", w.Header().Get("Retry-After"))

	w = httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Accept", "text/html")
	core.WriteError(w, r, &core.Error{Code: "not_found", Status: 404})
	require.Equal(t, 404, w.Code)
	require.Contains(t, w.Body.String(), "There is nothing at this address.")
	require.Empty(t, w.Header().Get("Retry-After"))

	w = httptest.NewRecorder()
	core.WriteError(w, r, &core.Error{Code: "already_connected", Description: "Somebody else <has> it.", Status: 409})
	require.Equal(t, 409, w.Code)
	require.Contains(t, w.Body.String(), "Somebody else &lt;has&gt; it.")
}

// errorPage renders err as a page, behind the Wrap of auth if there is one.
func errorPage(auth *core.Auth, err error) *httptest.ResponseRecorder {
	var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { core.WriteError(w, r, err) })
	if auth != nil {
		h = auth.Wrap(h)
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Accept", "text/html")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// Everybody who meets an outcome of this package is told in words of their own
// what it means, not in the developer's.
func TestEveryOutcomeHasAPage(t *testing.T) {
	text := regexp.MustCompile(`<p>[^<]+</p>`)
	seen := map[string]bool{}
	for _, outcome := range []*core.Error{
		core.ErrNotSignedIn, core.ErrReconnect, core.ErrState, core.ErrBadRequest, core.ErrMethod, core.ErrDenied,
		core.ErrUserChanged, core.ErrNotConnected, core.ErrLoginRefused, core.ErrCrossOrigin, core.ErrUpstream, core.ErrUnavailable,
	} {
		w := errorPage(nil, outcome)
		require.Equal(t, outcome.Status, w.Code)
		require.NotContains(t, w.Body.String(), outcome.Description)
		require.Contains(t, w.Body.String(), "<code>"+outcome.Code+"</code>")
		words := text.FindString(w.Body.String())
		require.NotEmpty(t, words, outcome.Code)
		require.False(t, seen[words], "%s has the words of another", outcome.Code)
		seen[words] = true
	}
	for _, err := range []error{errors.New("canary"), &core.Error{Code: "odd", Description: "Odd.", Status: 200}} {
		w := errorPage(nil, err)
		require.Equal(t, 500, w.Code)
		require.NotContains(t, w.Body.String(), "canary")
	}
}

// Behind Wrap the page of an error that the application itself returns leads to
// where the user can do something about it.
func TestTheWayOnFromAnErrorPage(t *testing.T) {
	cfg := core.Config{
		ClientID: "client", ClientSecret: "secret", RedirectURL: "https://app.example/app/auth/callback",
		PathPrefix: "/app", AfterLogin: "/home",
	}
	signIn, err := core.New(cfg)
	require.NoError(t, err)
	cfg.AppUser = func(*http.Request) string { return "ann" }
	cfg.OnLogin = func(context.Context, *core.Login) error { return nil }
	connect, err := core.New(cfg)
	require.NoError(t, err)
	const login, home = `<a class="button" href="/app/auth/login">Sign in with Musixmatch</a> <a href="/app/home">Go to`, `<p><a href="/app/home">Go to the start page`
	for _, tc := range []struct {
		auth *core.Auth
		err  error
		want string
	}{
		{signIn, core.ErrReconnect, login},
		{signIn, fmt.Errorf("songs: %w", core.ErrNotSignedIn), login},
		{signIn, &core.Error{Code: "not_found", Status: 404}, home},
		{signIn, errors.New("a bug"), home},
		{connect, core.ErrReconnect, home}, // to connect is a POST
		{nil, core.ErrReconnect, `<p><a href="/">Go to the start page`},
	} {
		require.Contains(t, errorPage(tc.auth, tc.err).Body.String(), tc.want, tc.err)
	}
}
