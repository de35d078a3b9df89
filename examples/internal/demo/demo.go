// Package demo is the part of the demo app that all frameworks share: its
// settings, its answers and its page. The three programs add the framework.
package demo

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/internal/setup"
	"github.com/mxmconnect/mxmconnect/internal/stores"
)

const basePath = "/auth/musixmatch" // of login, logout and disconnect, wherever the callback is registered

// Demo is the app without a framework.
type Demo struct {
	Auth *core.Auth
	Log  *slog.Logger

	sessions *scs.SessionManager
	origin   *http.CrossOriginProtection
	apiURL   string // "" if there is none
	offline  bool
}

// Run serves the app, with a framework's router, until the process gets a signal.
func Run(route func(*Demo) http.Handler) {
	setup.Main(func(ctx context.Context, log *slog.Logger) error { return run(ctx, log, route) })
}

func run(ctx context.Context, log *slog.Logger, route func(*Demo) http.Handler) error {
	var env setup.Environment
	listener, origin := env.Listen()
	if listener != nil {
		defer listener.Close()
	}
	cfg, fake := env.Musixmatch(env.RedirectURL(origin))
	apiURL := env.Get("MXM_API_URL", "")
	if fake != nil {
		defer fake.Close()
		apiURL = env.Get("MXM_API_URL", fake.APIURL())
	}
	if apiURL != "" {
		cfg.APIOrigins = []string{env.Origin("MXM_API_URL", apiURL)}
	}
	idleTimeout := env.Duration("MXM_IDLE_TIMEOUT", 30*time.Minute)
	storeURL := env.Get("MXM_STORE", stores.Memory)
	cfg.Keys = env.Keys("MXM_KEYS")
	if env.Get("MXM_KEYS", "") == "" && storeURL != stores.Memory {
		env.Reject("MXM_KEYS", "is required unless MXM_STORE is "+stores.Memory+", because other instances, and this one after a restart, must open what is stored")
	}
	if err := env.Err(); err != nil {
		return err
	}

	store, closeStore, err := stores.Open(ctx, storeURL)
	if err != nil {
		return &setup.Mistake{Variable: "MXM_STORE", Problem: err.Error()}
	}
	defer closeStore()
	if cfg.Keys == nil {
		cfg.Keys = setup.RandomKeys()
	}
	cfg.Grants = store
	cfg.Sessions = core.NewSessions(store)
	cfg.Sessions.IdleTimeout = idleTimeout
	cfg.BasePath = basePath
	cfg.ErrorHandler = core.WriteError
	cfg.Logger = log
	auth, err := setup.NewAuth(cfg)
	if err != nil {
		return err
	}

	setup.Announce(log, fake)
	fmt.Printf("Open %s/ in a browser. Ctrl-C ends it.\n", setup.OriginOf(cfg.RedirectURL))
	demo := &Demo{
		Auth: auth, Log: log, sessions: cfg.Sessions, origin: http.NewCrossOriginProtection(),
		apiURL: apiURL, offline: fake != nil,
	}
	return setup.Serve(ctx, listener, route(demo), auth, log)
}
