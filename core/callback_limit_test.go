package core

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// What waits in vain for its turn at Musixmatch has spent nothing: the same
// callback works later.
func TestCallbacksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newTestAuth(t, func(c *Config) { c.HTTPClient = &http.Client{Transport: cannedMusixmatch{}} })
		b := browser{}
		w := httptest.NewRecorder()
		require.NoError(t, routeOf(a, "/login")(w, b.request("/auth/musixmatch/login")))
		b.keep(w)
		location, err := url.Parse(w.Header().Get("Location"))
		require.NoError(t, err)
		callback := "/auth/musixmatch/callback?code=c&state=" + location.Query().Get("state")

		for range maxCallbacks {
			a.callbacks <- struct{}{}
		}
		w = httptest.NewRecorder()
		require.ErrorIs(t, routeOf(a, "/callback")(w, b.request(callback)), ErrUnavailable)
		b.keep(w)
		<-a.callbacks
		w = httptest.NewRecorder()
		require.NoError(t, routeOf(a, "/callback")(w, b.request(callback)))
		require.Equal(t, http.StatusSeeOther, w.Code)
	})
}
