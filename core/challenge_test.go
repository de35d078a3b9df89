package core

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

type appUserKey struct{}

// newConnectAuth returns an Auth of an application that keeps its own user in
// the request's context.
func newConnectAuth(t *testing.T, linked func(ctx context.Context, appUser string) (string, error)) *Auth {
	return newTestAuth(t, func(c *Config) {
		c.AppUser = func(r *http.Request) string {
			user, _ := r.Context().Value(appUserKey{}).(string)
			return user
		}
		c.LinkedUser = linked
		c.OnLogin = func(context.Context, *Login) error { return nil }
	})
}

func asAppUser(user string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), appUserKey{}, user)))
	})
}

// The order of the two middlewares is not a trap, and whoever has asked too
// early has not spoiled it for the others.
func TestAppUserFromMiddleware(t *testing.T) {
	sub, asked := t, 0
	a := newConnectAuth(t, func(_ context.Context, appUser string) (string, error) {
		asked++
		return "mxm:" + appUser, nil
	})
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.Equal(sub, "mxm:ann", UserID(r.Context()))
		require.Equal(sub, "mxm:ann", UserID(r.Context()))
	})
	early := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			require.Empty(sub, UserID(r.Context()))
			h.ServeHTTP(w, r)
		})
	}
	connect := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Method = http.MethodPost
		require.Equal(sub, "/auth/musixmatch/connect", a.Routes()[0].Path)
		require.NoError(sub, a.Routes()[0].Serve(w, r))
	})
	for name, h := range map[string]http.Handler{
		"around":             asAppUser("ann", a.Wrap(page)),
		"inside":             a.Wrap(asAppUser("ann", page)),
		"inside, asked once": a.Wrap(early(asAppUser("ann", page))),
		"around, connect":    asAppUser("ann", a.Wrap(connect)),
		"inside, connect":    a.Wrap(asAppUser("ann", connect)),
	} {
		t.Run(name, func(t *testing.T) {
			sub, asked = t, 0
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
			require.LessOrEqual(t, asked, 1, "LinkedUser is asked at most once")
		})
	}
}

func TestLinkedUserThatFailsNamesNobody(t *testing.T) {
	a := newConnectAuth(t, func(context.Context, string) (string, error) { return "mxm:stale", errors.New("down") })
	a.Wrap(asAppUser("ann", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.Empty(t, UserID(r.Context()))
		require.ErrorIs(t, a.Challenge(w, r), ErrUnavailable)
	}))).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
}

func TestChallengeComesBackBelowThePrefix(t *testing.T) {
	a := newTestAuth(t, func(c *Config) {
		c.RedirectURL, c.PathPrefix = "https://app.example/app/auth/callback", "/app"
	})
	challenge := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { require.NoError(t, a.Challenge(w, r)) })
	for name, tc := range map[string]struct {
		h      http.Handler
		target string
	}{
		"a proxy has stripped it": {challenge, "/me?x=1"},
		"http.StripPrefix has":    {http.StripPrefix("/app", challenge), "/app/me?x=1"},
	} {
		r := httptest.NewRequest(http.MethodGet, tc.target, nil)
		r.Header.Set("Accept", "text/html")
		w := httptest.NewRecorder()
		tc.h.ServeHTTP(w, r)
		require.Equal(t, "/app/auth/login?return_to=%2Fapp%2Fme%3Fx%3D1", w.Header().Get("Location"), name)
	}
}

func TestURLsOfTheRoutes(t *testing.T) {
	c := validConfig()
	c.RedirectURL, c.PathPrefix, c.BasePath = "https://app.example/shop/callback", "/shop", "/account"
	a, err := New(c)
	require.NoError(t, err)
	require.Equal(t, []string{"/shop/account/login", "/shop/account/logout", "/shop/account/disconnect", ""},
		[]string{a.LoginURL(""), a.LogoutURL(), a.DisconnectURL(), a.ConnectURL()})

	c.AppUser, c.OnLogin = func(*http.Request) string { return "" }, func(context.Context, *Login) error { return nil }
	a, err = New(c)
	require.NoError(t, err)
	require.Equal(t, []string{"/shop/account/connect", "", "/shop/account/disconnect", "/shop/account/connect"},
		[]string{a.LoginURL(""), a.LogoutURL(), a.DisconnectURL(), a.ConnectURL()})
}
