package core

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// What waits in vain for its turn at Musixmatch has spent nothing: the same
// callback works later.
func TestCallbacksAreBounded_R_DO_3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newTestAuth(t, func(c *Config) { c.HTTPClient = &http.Client{Transport: cannedMusixmatch{}} })
		b := browser{}
		w := httptest.NewRecorder()
		require.NoError(t, routeOf(a, "/login")(w, b.request("/auth/musixmatch/login")))
		b.keep(w)
		location, err := url.Parse(w.Header().Get("Location"))
		require.NoError(t, err)
		callback := "/auth/musixmatch/callback?code=c&state=" + location.Query().Get("state")

		for range maxLogins {
			a.logins <- struct{}{}
		}
		w = httptest.NewRecorder()
		require.ErrorIs(t, routeOf(a, "/callback")(w, b.request(callback)), ErrUnavailable)
		b.keep(w)
		<-a.logins
		w = httptest.NewRecorder()
		require.NoError(t, routeOf(a, "/callback")(w, b.request(callback)))
		require.Equal(t, http.StatusSeeOther, w.Code)
	})
}

func TestCachingInConnectMode_R_SE_9(t *testing.T) {
	a := newTestAuth(t, func(c *Config) {
		c.AppUser = func(r *http.Request) string { return r.Header.Get("App-User") }
		c.OnLogin = func(context.Context, *Login) error { return nil }
		c.LinkedUser = func(context.Context, string) (string, error) { return "mxm:1", nil }
	})
	page := func(asks bool) http.Header {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("App-User", "artist")
		w := httptest.NewRecorder()
		a.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "public")
			if asks {
				require.Equal(t, "mxm:1", UserID(r.Context()))
			}
		})).ServeHTTP(w, r)
		return w.Header()
	}
	require.Equal(t, "public", page(false).Get("Cache-Control"), "it depends on nobody")
	require.Equal(t, "no-store", page(true).Get("Cache-Control"))
	require.True(t, strings.EqualFold("cookie", page(true).Get("Vary")))
}
