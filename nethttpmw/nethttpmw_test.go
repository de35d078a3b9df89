package nethttpmw_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/adaptertest"
	"github.com/mxmconnect/mxmconnect/nethttpmw"
	"github.com/stretchr/testify/require"
)

func TestServeMux(t *testing.T) { adaptertest.Run(t, serveMux) }

func BenchmarkServeMux(b *testing.B) { adaptertest.Benchmark(b, serveMux) }

func serveMux(app adaptertest.App) http.Handler {
	mux := http.NewServeMux()
	build(mux, app)
	var h http.Handler = mux
	around := middlewares(app)
	for i := range around {
		h = around[len(around)-1-i](h)
	}
	return h
}

// middlewares returns what is around the whole application, outermost first.
func middlewares(app adaptertest.App) (around []func(http.Handler) http.Handler) {
	if app.Middleware {
		around = append(around, nethttpmw.Middleware(app.Auth))
		if app.Second != nil {
			around = append(around, nethttpmw.Middleware(app.Second))
		}
	}
	if app.RequireUser {
		around = append(around, nethttpmw.RequireUser(app.Auth))
	}
	return around
}

func TestChi(t *testing.T) {
	adaptertest.Run(t, func(app adaptertest.App) http.Handler {
		r := chi.NewRouter()
		r.Use(middlewares(app)...)
		build(r, app)
		return r
	})
}

// An access log on net/http: the path, never the query, and no headers.
func TestLogging(t *testing.T) {
	adaptertest.RunLogging(t, func(app adaptertest.App, log io.Writer) http.Handler {
		next := serveMux(app)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				if p := recover(); p != nil {
					fmt.Fprintln(log, "panic", p, r.URL.Path)
					w.WriteHeader(http.StatusInternalServerError)
				}
			}()
			fmt.Fprintln(log, r.Method, r.URL.Path)
			next.ServeHTTP(w, r)
		})
	})
}

func build(mux nethttpmw.Mux, app adaptertest.App) {
	nethttpmw.Mount(mux, app.Auth)
	if app.Second != nil {
		nethttpmw.Mount(mux, app.Second)
	}
	mux.Handle(app.WhoAmI, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, nethttpmw.UserID(r))
	}))
	for _, page := range app.Pages {
		var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := page.Serve(w, r); err != nil {
				core.WriteError(w, r, err)
			}
		})
		if page.RequireSecond {
			h = nethttpmw.RequireUser(app.Second)(h)
		}
		if page.RequireUser {
			h = nethttpmw.RequireUser(app.Auth)(h)
		}
		mux.Handle(page.Path, h)
	}
}

func TestMountBesidesACatchAll(t *testing.T) {
	auth, err := core.New(core.Config{ClientID: "x", ClientSecret: "y", RedirectURL: "https://app.example/auth/callback"})
	require.NoError(t, err)
	mount := func(pattern string) func() {
		mux := http.NewServeMux()
		mux.Handle(pattern, http.NotFoundHandler())
		return func() { nethttpmw.Mount(mux, auth) }
	}
	require.NotPanics(t, mount("/"))
	require.NotPanics(t, mount("GET /{$}"))
	require.Panics(t, mount("GET /"), "say so no longer in Mount's comment")
}

func TestNilAuth(t *testing.T) {
	for _, f := range []func(){
		func() { nethttpmw.Mount(http.NewServeMux(), nil) }, func() { nethttpmw.Middleware(nil) }, func() { nethttpmw.RequireUser(nil) },
	} {
		require.PanicsWithValue(t, "musixmatch: the Auth is nil; look at the error of core.New", f)
	}
}
