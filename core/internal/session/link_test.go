package session_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

func TestCachingInConnectMode(t *testing.T) {
	m := manage(core.NewSessions(core.NewMemory()), func(o *session.Options) {
		o.AppUser = func(r *http.Request) string { return r.Header.Get("App-User") }
		o.LinkedUser = func(context.Context, string) (string, error) { return "mxm:1", nil }
	})
	page := func(asks bool) http.Header {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("App-User", "artist")
		w := httptest.NewRecorder()
		m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "public")
			if asks {
				require.Equal(t, "mxm:1", session.UserID(r.Context()))
			}
		})).ServeHTTP(w, r)
		return w.Header()
	}
	require.Equal(t, "public", page(false).Get("Cache-Control"), "it depends on nobody")
	require.Equal(t, "no-store", page(true).Get("Cache-Control"))
	require.Equal(t, "Cookie", page(true).Get("Vary"))
}
