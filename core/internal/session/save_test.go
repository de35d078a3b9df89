package session_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFailedSave(t *testing.T) {
	m, store := newManager(nil)
	b := browser{}
	signIn(t, m, b, "mxm:1")
	for name, write := range map[string]func(w http.ResponseWriter){
		"Write":       func(w http.ResponseWriter) { w.Write([]byte("PROTECTED")) },
		"WriteString": func(w http.ResponseWriter) { io.WriteString(w, "PROTECTED") },
		"WriteHeader": func(w http.ResponseWriter) { w.WriteHeader(200); w.Write([]byte("PROTECTED")) },
		"ReadFrom":    func(w http.ResponseWriter) { io.Copy(w, strings.NewReader("PROTECTED")) },
		"Flush":       func(w http.ResponseWriter) { w.(http.Flusher).Flush(); w.Write([]byte("PROTECTED")) },
		"controller":  func(w http.ResponseWriter) { http.NewResponseController(w).Flush(); w.Write([]byte("PROTECTED")) },
		"nothing":     func(w http.ResponseWriter) {},
	} {
		store.down.Store(false)
		w := serve(m, b, func(w http.ResponseWriter, r *http.Request) {
			m.scs.Put(r.Context(), "k", name)
			w.Header().Set("Location", "/done")
			store.down.Store(true)
			write(w)
		})
		require.Equal(t, http.StatusServiceUnavailable, w.Code, name)
		require.NotContains(t, w.Body.String(), "PROTECTED", name)
		require.Empty(t, w.Header().Get("Location"), name)
	}
}

func TestSaveSurvivesTheBrowser(t *testing.T) {
	m, _ := newManager(nil)
	b := browser{}
	signIn(t, m, b, "mxm:1")
	ctx, cancel := context.WithCancel(t.Context())
	m.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.scs.Put(r.Context(), "k", "v")
		cancel()
	})).ServeHTTP(httptest.NewRecorder(), b.request("/").WithContext(ctx))
	serve(m, b, func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "v", m.scs.GetString(r.Context(), "k"))
	})
}

func TestChangeAfterTheFirstByte(t *testing.T) {
	m, _ := newManager(nil)
	b := browser{}
	signIn(t, m, b, "mxm:1")
	serve(m, b, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "streaming")
		m.scs.Put(r.Context(), "late", "yes")
	})
	serve(m, b, func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "yes", m.scs.GetString(r.Context(), "late"))
	})
}

func TestCaching(t *testing.T) {
	m, _ := newManager(nil)
	anonymous, signedIn := browser{}, browser{}
	signIn(t, m, signedIn, "mxm:1")
	for _, tc := range []struct {
		b         browser
		own, want string
	}{
		{anonymous, "", "no-store"},
		{anonymous, "public, max-age=60", "public, max-age=60"},
		{signedIn, "", "no-store"},
		{signedIn, "public, max-age=60", "no-store"},
		{signedIn, "private, max-age=60", "private, max-age=60"},
	} {
		w := serve(m, tc.b, func(w http.ResponseWriter, r *http.Request) {
			if tc.own != "" {
				w.Header().Set("Cache-Control", tc.own)
			}
			w.WriteHeader(http.StatusOK)
		})
		require.Equal(t, tc.want, w.Header().Get("Cache-Control"), "%+v", tc)
		require.Equal(t, []string{"Cookie"}, w.Header().Values("Vary"))
	}
	w := serve(m, signedIn, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "private, max-age=60")
		http.SetCookie(w, &http.Cookie{Name: "x", Value: "y"})
		w.WriteHeader(http.StatusOK)
	})
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"), "it sets a cookie")
}
