package adaptertest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Benchmark measures what an adapter adds to a request. It compares a page without
// middleware, the same page with it for a visitor and for a user, and a page
// behind RequireUser. It calls the application's handler without a network.
func Benchmark(b *testing.B, adapter Adapter) {
	pages := []page{
		{"/page", false, writePage},
		{"/me", true, writePage},
	}
	plain := start(b, adapter, setup{noMiddleware: true, pages: pages})
	full := start(b, adapter, setup{pages: pages})
	user := full.browser()
	user.signIn()
	for _, c := range []struct {
		name, path string
		site       *site
		cookie     *http.Cookie
	}{
		{"bare", "/page", plain, nil},
		{"visitor", "/page", full, nil},
		{"user", "/page", full, user.session()},
		{"require user", "/me", full, user.session()},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, c.path, nil)
			if c.cookie != nil {
				r.AddCookie(c.cookie)
			}
			w := &discard{header: make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				c.site.server.Config.Handler.ServeHTTP(w, r)
				if w.status > http.StatusOK {
					b.Fatalf("status %d", w.status)
				}
			}
		})
	}
}

func writePage(_ *site, w http.ResponseWriter, _ *http.Request) error {
	_, err := io.WriteString(w, "page")
	return err
}

// discard is a ResponseWriter that costs less than a recorder.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
