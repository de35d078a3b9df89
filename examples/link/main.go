// Command link shows an application that has its own accounts, and whose users
// connect their Musixmatch account once. It runs offline. Set MXM_CLIENT_ID and
// MXM_CLIENT_SECRET to run it against Musixmatch.
//
// core.Config.AppUser switches to connect mode: Musixmatch signs nobody in and
// never changes who is signed in. The application keeps the link between its
// account and the Musixmatch account; core keeps the tokens.
package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"

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

	a := &app{accounts: newAccounts(), sessions: scs.New(), musixmatch: setup.OriginOf(cfg.BaseURL)}
	a.sessions.Cookie.Name = "app_session"
	if strings.HasPrefix(cfg.RedirectURL, "https:") {
		// No other host can set a cookie of this name. A connection is as safe as it.
		a.sessions.Cookie.Name, a.sessions.Cookie.Secure = "__Host-app_session", true
	}
	cfg.AppUser = func(r *http.Request) string { return a.user(r.Context()) }
	cfg.LinkedUser = a.accounts.linked
	cfg.OnLogin = func(_ context.Context, l *core.Login) error { return a.accounts.link(l.AppUser, l.UserID) }
	cfg.OnDisconnect = func(_ context.Context, account, userID string) error { a.accounts.unlink(account, userID); return nil }
	cfg.BasePath = "/auth/musixmatch"
	cfg.ErrorHandler = writeError
	cfg.Logger = log
	var err error
	if a.auth, err = setup.NewAuth(cfg); err != nil {
		return err
	}
	setup.Announce(log, fake)
	fmt.Printf("Open %s/ in a browser. Ctrl-C ends it.\n", setup.OriginOf(cfg.RedirectURL))
	return setup.Serve(ctx, listener, a.routes(), a.auth, log)
}

// writeError shows the text of a conflict, and core's text for every other error.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	for _, conflict := range []error{errTaken, errOther} {
		if errors.Is(err, conflict) {
			err = conflict
		}
	}
	core.WriteError(w, r, err)
}

// app is the application without Musixmatch: accounts and sessions.
type app struct {
	accounts   *accounts
	sessions   *scs.SessionManager
	auth       *core.Auth
	musixmatch string // its origin
}

func (a *app) user(ctx context.Context) string { return a.sessions.GetString(ctx, "user") }

func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	nethttpmw.Mount(mux, a.auth)
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("POST /sign-in", a.signIn)
	mux.HandleFunc("POST /sign-out", a.signOut)
	mux.HandleFunc("GET /connections", a.connections)
	mux.Handle("GET /artist", nethttpmw.RequireUser(a.auth)(http.HandlerFunc(a.artist)))

	// First the application's own protection of its forms, then its own session,
	// then Musixmatch, which calls AppUser within that session.
	handler := nethttpmw.Middleware(a.auth)(mux)
	handler = a.sessions.LoadAndSave(handler)
	return http.NewCrossOriginProtection().Handler(handler)
}

func (a *app) home(w http.ResponseWriter, r *http.Request) {
	user, userID := a.user(r.Context()), nethttpmw.UserID(r)
	view := struct {
		User, UserID, ConnectURL, DisconnectURL string
		Lost                                    bool
		Accounts                                []string
	}{User: user, UserID: userID, ConnectURL: a.auth.LoginURL("/"), DisconnectURL: a.auth.DisconnectURL(), Accounts: names}
	if userID != "" {
		grant, err := a.auth.Grant(r.Context(), userID) // says who must come back before anybody clicks
		if err != nil {
			core.WriteError(w, r, err)
			return
		}
		view.Lost = grant.Status != core.GrantLive
	}
	// The answer to the connect form is a redirect to Musixmatch. Browsers block
	// it unless form-action allows that origin.
	if err := page.Write(w, http.StatusOK, home, view, a.musixmatch); err != nil {
		core.WriteError(w, r, err)
	}
}

// signIn trusts everybody. A real application asks for a password.
func (a *app) signIn(w http.ResponseWriter, r *http.Request) {
	user := r.FormValue("user")
	if !a.accounts.exists(user) {
		core.WriteError(w, r, core.ErrBadRequest)
		return
	}
	if err := a.sessions.RenewToken(r.Context()); err != nil {
		core.WriteError(w, r, err)
		return
	}
	a.sessions.Put(r.Context(), "user", user)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (a *app) signOut(w http.ResponseWriter, r *http.Request) {
	if err := a.sessions.Destroy(r.Context()); err != nil {
		core.WriteError(w, r, err)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// connections lists all connections, for whoever runs this application. A real one
// asks who that is. Nobody at Musixmatch is asked.
func (a *app) connections(w http.ResponseWriter, r *http.Request) {
	for g, err := range a.auth.Grants(r.Context()) {
		if err != nil {
			core.WriteError(w, r, err)
			return
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", a.accounts.of(g.UserID), g.UserID, g.Status)
	}
}

// artist is a page that only makes sense for a connected account.
func (a *app) artist(w http.ResponseWriter, r *http.Request) {
	if err := a.auth.Verify(r.Context(), nethttpmw.UserID(r)); err != nil {
		core.WriteError(w, r, err)
		return
	}
	fmt.Fprintf(w, "%s acts at Musixmatch as %s\n", a.user(r.Context()), nethttpmw.UserID(r))
}
