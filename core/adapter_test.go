package core_test

import (
	"net/http"
	"testing"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/adaptertest"
)

// An application that has no adapter for its framework needs Routes, Wrap, Admit
// and WriteError, and keeps every promise with them.
func TestWithoutAnAdapter(t *testing.T) {
	adaptertest.Run(t, func(app adaptertest.App) http.Handler {
		mux := http.NewServeMux()
		serving := func(auth *core.Auth, serve func(http.ResponseWriter, *http.Request) error) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := serve(w, r); err != nil && !auth.HandleError(w, r, err) {
					core.WriteError(w, r, err)
				}
			})
		}
		requireUser := func(auth *core.Auth, next http.Handler) http.Handler {
			return auth.Wrap(serving(auth, func(w http.ResponseWriter, r *http.Request) error {
				admitted, err := auth.Admit(w, r)
				if admitted != nil {
					next.ServeHTTP(w, admitted)
				}
				return err
			}))
		}
		for _, auth := range []*core.Auth{app.Auth, app.Second} {
			if auth != nil {
				for _, route := range auth.Routes() {
					mux.Handle(route.Path, serving(auth, route.Serve))
				}
			}
		}
		mux.Handle(app.WhoAmI, serving(app.Auth, func(w http.ResponseWriter, r *http.Request) error {
			_, err := w.Write([]byte(core.UserID(r.Context())))
			return err
		}))
		for _, page := range app.Pages {
			h := serving(app.Auth, page.Serve)
			if page.RequireSecond {
				h = requireUser(app.Second, h)
			}
			if page.RequireUser {
				h = requireUser(app.Auth, h)
			}
			mux.Handle(page.Path, h)
		}
		var h http.Handler = mux
		if app.RequireUser {
			h = requireUser(app.Auth, h)
		}
		if app.Middleware {
			if app.Second != nil {
				h = app.Second.Wrap(h)
			}
			h = app.Auth.Wrap(h)
		}
		return h
	})
}
