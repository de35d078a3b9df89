// Command nethttp shows sign-in, sign-out, API calls and the loss of a grant on net/http.
// It runs offline. Set MXM_CLIENT_ID and MXM_CLIENT_SECRET to run it against Musixmatch.
package main

import (
	"net/http"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/examples/internal/demo"
	"github.com/mxmconnect/mxmconnect/nethttpmw"
)

func main() { demo.Run(routes) }

func routes(d *demo.Demo) http.Handler {
	handle := func(h demo.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := h(w, r, nethttpmw.UserID(r)); err != nil {
				core.WriteError(w, r, err)
			}
		})
	}
	signedIn := nethttpmw.RequireUser(d.Auth)

	mux := http.NewServeMux()
	get := func(path string, h http.Handler) {
		mux.Handle("GET "+path, h)
		mux.Handle(path, handle(d.WrongMethod))
	}
	nethttpmw.Mount(mux, d.Auth)
	get("/{$}", handle(d.Home))
	get("/me", signedIn(handle(d.Me)))
	get("/whoami", signedIn(handle(d.WhoAmI)))
	get("/verify", signedIn(handle(d.Verify)))
	get("/slow", signedIn(handle(d.Slow)))
	get("/sessions", signedIn(handle(d.Sessions)))
	mux.Handle("/sessions/end", handle(d.EndSessions))
	mux.Handle("/", handle(d.NotFound))

	outer := http.NewServeMux() // what needs no session
	outer.Handle("GET /healthz", handle(d.Health))
	outer.Handle("/healthz", handle(d.WrongMethod))
	outer.Handle("/", nethttpmw.Middleware(d.Auth)(mux))
	return demo.LogRequests(d.Log, outer)
}
