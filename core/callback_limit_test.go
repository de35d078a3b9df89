package core

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// What waits in vain for its turn at Musixmatch has spent nothing: the same
// callback works later.
func TestCallbacksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reason string
		a := newTestAuth(t, func(c *Config) {
			c.HTTPClient = &http.Client{Transport: cannedMusixmatch{}}
			c.OnEvent = func(_ context.Context, e Event) { reason = e.Reason }
		})
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

		r := b.request(callback)
		ctx, leave := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, leave)
		begin := time.Now()
		require.ErrorIs(t, routeOf(a, "/callback")(httptest.NewRecorder(), r.WithContext(ctx)), ErrUnavailable)
		require.Equal(t, time.Second, time.Since(begin), "it leaves with its browser")
		require.Equal(t, "abandoned", reason)

		<-a.callbacks
		for range 10 {
			require.Error(t, routeOf(a, "/callback")(httptest.NewRecorder(), r.WithContext(ctx)), "it has left already")
		}
		w = httptest.NewRecorder()
		require.NoError(t, routeOf(a, "/callback")(w, b.request(callback)))
		require.Equal(t, http.StatusSeeOther, w.Code)
	})
}
