package core

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"
)

func BenchmarkAuthenticatedRequest(b *testing.B) {
	body := []byte("ok")
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = UserID(r.Context())
		w.Write(body)
	})
	run := func(b *testing.B, h http.Handler, cookie *http.Cookie) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		if cookie != nil {
			r.AddCookie(cookie)
		}
		b.ReportAllocs()
		for b.Loop() {
			h.ServeHTTP(&discardWriter{header: http.Header{}}, r)
		}
	}
	b.Run("bare", func(b *testing.B) {
		run(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			page(w, r.WithContext(WithUserID(r.Context(), "mxm:1")))
		}), nil)
	})
	for _, idle := range []time.Duration{0, time.Hour} {
		b.Run(fmt.Sprintf("mxmconnect/idle=%s", idle), func(b *testing.B) {
			sessions := NewSessions(NewMemory())
			sessions.IdleTimeout = idle
			a := newSessionAuth(b, sessions)
			br := browser{}
			signIn(b, a, br, "mxm:100000000000000000001")
			run(b, a.Wrap(page), br["__Host-Http-mxm_session"])
		})
		b.Run(fmt.Sprintf("scs/idle=%s", idle), func(b *testing.B) {
			m := scs.New()
			m.IdleTimeout = idle
			ctx, err := m.Load(context.Background(), "")
			require.NoError(b, err)
			m.Put(ctx, "user", "mxm:100000000000000000001")
			token, _, err := m.Commit(ctx)
			require.NoError(b, err)
			run(b, m.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				page(w, r.WithContext(WithUserID(r.Context(), m.GetString(r.Context(), "user"))))
			})), &http.Cookie{Name: "session", Value: token})
		})
	}
}

type discardWriter struct{ header http.Header }

func (w *discardWriter) Header() http.Header         { return w.header }
func (w *discardWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *discardWriter) WriteHeader(int)             {}
