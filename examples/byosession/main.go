// Command byosession shows sign-in in an application that has its own
// scs.SessionManager with its own data. It runs offline. Set
// MXM_CLIENT_ID and MXM_CLIENT_SECRET to run it against Musixmatch.
//
// core uses the manager unchanged, and the application's LoadAndSave saves the
// session. There is one limit: if the store is not one of sessionstore's, a slow
// request can bring back a session that a sign-out has ended.
package main

import (
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/examples/internal/page"
	"github.com/mxmconnect/mxmconnect/internal/setup"
	"github.com/mxmconnect/mxmconnect/nethttpmw"
)

//go:embed page.html
var pageSource string

var home = page.Parse(pageSource)

func main() { setup.Main(run) }

func run(ctx context.Context, log *slog.Logger) error {
	var env setup.Environment
	listener, origin := env.Listen()
	if listener != nil {
		defer listener.Close()
	}
	cfg, fake := env.Musixmatch(env.RedirectURL(origin))
	if fake != nil {
		defer fake.Close()
	}
	if err := env.Err(); err != nil {
		return err
	}

	// The application's sessions, as they were.
	sessions := scs.New()
	sessions.Lifetime = 12 * time.Hour
	sessions.Cookie.Name = "shop_session"
	if strings.HasPrefix(cfg.RedirectURL, "https:") {
		// No other host can set a cookie of this name. A sign-in is as safe as it.
		sessions.Cookie.Name, sessions.Cookie.Secure = "__Host-shop_session", true
	}

	cfg.Sessions = sessions
	cfg.Keys = setup.RandomKeys() // from your secrets: all instances need the same
	cfg.BasePath = "/auth/musixmatch"
	cfg.ErrorHandler = core.WriteError
	cfg.Logger = log
	auth, err := setup.NewAuth(cfg)
	if err != nil {
		return err
	}

	mux := http.NewServeMux()
	nethttpmw.Mount(mux, auth)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		view := struct {
			UserID, LoginURL string
			Cart             int
		}{nethttpmw.UserID(r), auth.LoginURL(""), sessions.GetInt(r.Context(), "cart")}
		if err := page.Write(w, http.StatusOK, home, view); err != nil {
			core.WriteError(w, r, err)
		}
	})
	mux.HandleFunc("POST /cart", func(w http.ResponseWriter, r *http.Request) {
		sessions.Put(r.Context(), "cart", sessions.GetInt(r.Context(), "cart")+1)
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	mux.Handle("GET /orders", nethttpmw.RequireUser(auth)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%d in the cart of %s\n", sessions.GetInt(r.Context(), "cart"), nethttpmw.UserID(r))
	})))

	handler := sessions.LoadAndSave(nethttpmw.Middleware(auth)(mux)) // outside, as it was
	handler = http.NewCrossOriginProtection().Handler(handler)
	setup.Announce(log, fake)
	fmt.Printf("Open %s/ in a browser. Ctrl-C ends it.\n", setup.OriginOf(cfg.RedirectURL))
	return setup.Serve(ctx, listener, handler, auth, log)
}
