package core_test

import (
	"net/http"
	"testing"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/adaptertest"
)

// An application that has no adapter for its framework needs Routes, Wrap,
// Challenge and WriteError, and keeps every promise with them.
func TestWithoutAnAdapter(t *testing.T) {
	adaptertest.Run(t, func(app adaptertest.App) http.Handler {
		mux := http.NewServeMux()
		serving := func(serve func(http.ResponseWriter, *http.Request) error) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := serve(w, r); err != nil && !app.Auth.HandleError(w, r, err) {
					core.WriteError(w, r, err)
				}
			})
		}
		for _, route := range app.Auth.Routes() {
			mux.Handle(route.Path, serving(route.Serve))
		}
		mux.Handle(app.WhoAmI, serving(func(w http.ResponseWriter, r *http.Request) error {
			_, err := w.Write([]byte(core.UserID(r.Context())))
			return err
		}))
		for _, page := range app.Pages {
			if !page.RequireUser {
				mux.Handle(page.Path, serving(page.Serve))
				continue
			}
			mux.Handle(page.Path, app.Auth.Wrap(serving(func(w http.ResponseWriter, r *http.Request) error {
				if core.UserID(r.Context()) == "" {
					return app.Auth.Challenge(w, r)
				}
				return page.Serve(w, r)
			})))
		}
		if app.Middleware {
			return app.Auth.Wrap(mux)
		}
		return mux
	})
}
