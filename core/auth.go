package core

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/mxmconnect/mxmconnect/core/internal/grant"
	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
	"github.com/mxmconnect/mxmconnect/core/internal/seal"
)

// Auth signs users in with Musixmatch and keeps their tokens alive. Make one
// with [New]; it is safe for concurrent use.
type Auth struct {
	cfg          *Config
	log          *slog.Logger
	keys         seal.Keyring
	musixmatch   *musixmatch.Client
	grants       *grant.Manager
	sessions     *scs.SessionManager
	sessionKey   string // where our part of a session is
	contextKey   any    // where scs keeps a session in a context, or nil; see lazyKey
	idleTimeout  time.Duration
	publicOrigin string // of RedirectURL
	secure       bool   // RedirectURL is https: cookies carry Secure and __Host-
	callbackPath string // as the router sees it
	routes       []Route
	origin       *http.CrossOriginProtection
	eventKey     [sha256.Size]byte
	logins       chan struct{} // callbacks at Musixmatch
	work         work
	apps         appTokens
}

// work counts the callbacks and requests for application tokens that must not be cut off.
type work struct {
	mu     sync.Mutex
	closed bool
	sync.WaitGroup
}

// New checks the configuration and returns every mistake in it as one error,
// which names the fields and prints no secret. It does not use the network.
func New(cfg Config) (*Auth, error) {
	c := &cfg
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("musixmatch: the configuration is not usable:\n%w", err)
	}
	if len(c.Keys) == 0 {
		key := make([]byte, 32)
		rand.Read(key)
		c.Keys = [][]byte{key}
	}
	keys, err := seal.New(c.Keys)
	if err != nil {
		return nil, fmt.Errorf("musixmatch: the configuration is not usable:\n%w", err)
	}
	memory := NewMemory()
	if c.Sessions == nil {
		c.Sessions = NewSessions(memory)
	}
	if c.Grants == nil {
		c.Grants = memory
	}
	redirect, err := url.Parse(c.RedirectURL)
	if err != nil {
		return nil, err
	}
	a := &Auth{
		cfg:          c,
		log:          c.Logger,
		keys:         keys,
		publicOrigin: musixmatch.OriginOf(redirect),
		callbackPath: redirect.Path[len(c.PathPrefix):],
		origin:       http.NewCrossOriginProtection(),
		eventKey:     sha256.Sum256([]byte("mxmconnect event user\x00" + c.ClientSecret)),
		logins:       make(chan struct{}, maxLogins),
	}
	for _, origin := range append([]string{a.publicOrigin}, c.TrustedOrigins...) {
		if err := a.origin.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("musixmatch: TrustedOrigins: %w", err)
		}
	}
	var transport http.RoundTripper
	if c.HTTPClient != nil {
		transport = c.HTTPClient.Transport
	}
	clock := musixmatch.SystemClock()
	a.musixmatch = musixmatch.New(musixmatch.Options{
		Endpoint: musixmatch.Endpoint(c.Endpoint), ClientID: c.ClientID, ClientSecret: c.ClientSecret,
		RedirectURL: c.RedirectURL, Scopes: c.Scopes, Transport: transport, Clock: clock,
	})
	a.grants = grant.New(grant.Options{
		Store: grantStore{c.Grants}, Server: server{a.musixmatch}, Keys: keys,
		BaseURL: c.BaseURL, ClientID: c.ClientID, RefreshTimeout: c.RefreshTimeout,
		Clock: clock, Report: a.report,
	})
	a.secure = redirect.Scheme == "https"
	a.useSessions()
	a.routes = a.makeRoutes()
	for name, landing := range map[string]string{"AfterLogin": c.AfterLogin, "AfterLogout": c.AfterLogout} {
		if a.isOwnPath(a.browserPath(landing)) {
			return nil, fmt.Errorf("musixmatch: the configuration is not usable:\n%s: %q is a route of this package", name, landing)
		}
	}
	return a, nil
}

// Route is one endpoint of this package for an adapter to mount. Path is as
// the router sees it. Serve takes every method, writes what goes well and
// returns what goes wrong before the first byte.
type Route struct {
	Path  string
	Serve func(http.ResponseWriter, *http.Request) error
}

// Routes returns the endpoints of the mode that Config chose.
func (a *Auth) Routes() []Route { return a.routes }

func (a *Auth) makeRoutes() []Route {
	base := a.cfg.BasePath
	callback := a.get(a.callbackPath, a.serveCallback)
	disconnect := a.post(base+"/disconnect", a.serveDisconnect)
	if a.cfg.AppUser != nil {
		return []Route{a.post(base+"/connect", a.serveConnect), callback, disconnect}
	}
	return []Route{a.get(base+"/login", a.serveLogin), callback, a.post(base+"/logout", a.serveLogout), disconnect}
}

// begin announces work that Close is to wait for, until work.Done. It reports
// false once Close has been called.
func (a *Auth) begin() bool {
	a.work.mu.Lock()
	defer a.work.mu.Unlock()
	if a.work.closed {
		return false
	}
	a.work.Add(1)
	return true
}

// Close waits until the refreshes and callbacks that are under way have been
// written, or ctx is done, and lets no further one begin. Call it after the
// HTTP server has shut down.
func (a *Auth) Close(ctx context.Context) error {
	a.work.mu.Lock()
	a.work.closed = true
	a.work.mu.Unlock()
	done := make(chan struct{})
	go func() {
		a.work.Wait()
		close(done)
	}()
	err := a.grants.Close(ctx)
	if err == nil {
		select {
		case <-done:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	a.musixmatch.Close()
	if err != nil {
		return fmt.Errorf("musixmatch: close: work is still under way: %w", err)
	}
	return nil
}

// Format keeps the secrets that an Auth holds out of every format verb.
func (a *Auth) Format(f fmt.State, _ rune) { fmt.Fprint(f, "*core.Auth") }
