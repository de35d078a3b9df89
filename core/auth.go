package core

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/mxmconnect/mxmconnect/core/internal/browsers"
	"github.com/mxmconnect/mxmconnect/core/internal/grant"
	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
	"github.com/mxmconnect/mxmconnect/core/internal/seal"
	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

// Auth signs users in with Musixmatch and keeps their tokens alive. Make one
// with [New]. It is safe for concurrent use.
type Auth struct {
	cfg        *Config
	log        *slog.Logger
	keys       seal.Keyring
	musixmatch *musixmatch.Client
	grants     *grant.Manager
	sessions   *session.Manager
	browsers   *browsers.Book // or nil; see newBook
	site       site
	secure     bool // RedirectURL is https: cookies carry Secure and __Host-
	routes     []Route
	origin     *http.CrossOriginProtection
	eventKey   [sha256.Size]byte
	callbacks  chan struct{} // a semaphore: callbacks at Musixmatch
	work       work
	apps       appTokens
	wrapped    atomic.Bool // Wrap has been called
	warned     warned
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
	c.setDefaults()
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("musixmatch: the configuration is not usable:\n%w", err)
	}
	keys, err := seal.New(c.Keys)
	if err != nil {
		return nil, err
	}
	a := &Auth{
		cfg:       c,
		log:       c.Logger,
		keys:      keys,
		site:      c.site(),
		origin:    http.NewCrossOriginProtection(),
		eventKey:  sha256.Sum256([]byte("mxmconnect event user\x00" + c.ClientSecret)),
		callbacks: make(chan struct{}, maxCallbacks),
	}
	origins := c.TrustedOrigins
	if c.RedirectURL != "" {
		origins = append([]string{a.site.origin}, origins...)
	}
	for _, origin := range origins {
		if err := a.origin.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("musixmatch: TrustedOrigins: %w", err)
		}
	}
	a.secure = c.secure()
	a.connectMusixmatch()
	a.browsers = newBook(a)
	a.sessions = newSessions(a)
	a.routes = a.makeRoutes()
	return a, nil
}

// connectMusixmatch makes the client of Musixmatch and what keeps grants alive
// through it. Both read one clock.
func (a *Auth) connectMusixmatch() {
	c, clock := a.cfg, musixmatch.SystemClock()
	var transport http.RoundTripper
	if c.HTTPClient != nil {
		transport = c.HTTPClient.Transport
	}
	a.musixmatch = musixmatch.New(musixmatch.Options{
		Endpoint: musixmatch.Endpoint(c.Endpoint), ClientID: c.ClientID, ClientSecret: c.ClientSecret,
		RedirectURL: c.RedirectURL, Scopes: c.Scopes, Transport: transport, Clock: clock,
	})
	lister, _ := c.Grants.(GrantLister)
	a.grants = grant.New(grant.Options{
		Store: grantStore{c.Grants}, Lister: lister, Server: server{a.musixmatch}, Keys: a.keys,
		BaseURL: c.BaseURL, ClientID: c.ClientID, RefreshTimeout: c.RefreshTimeout,
		Clock: clock, Report: a.report, OnStatus: a.onGrantStatus(),
	})
}

// Route is one endpoint of this package for an adapter to mount. Path is the
// path that the router sees. Serve takes every method. It writes the answer, or
// returns an error before the first byte.
type Route struct {
	Path  string
	Serve func(http.ResponseWriter, *http.Request) error
}

// Routes returns the endpoints to mount: login, callback, logout and disconnect;
// in connect mode connect, callback and disconnect. It panics if a is nil, or if
// Config.RedirectURL is missing, so an adapter that calls it fails at set-up.
func (a *Auth) Routes() []Route {
	if a == nil {
		panic("musixmatch: the Auth is nil; look at the error of core.New")
	}
	if a.cfg.RedirectURL == "" {
		panic("musixmatch: RedirectURL is required to sign people in")
	}
	return a.routes
}

func (a *Auth) makeRoutes() []Route {
	callback := a.get(a.site.callback, a.serveCallback)
	disconnect := a.post(a.site.disconnect, a.serveDisconnect)
	if a.cfg.AppUser != nil {
		return []Route{a.post(a.site.start, a.serveConnect), callback, disconnect}
	}
	login := a.get(a.site.start, a.serveLogin, http.MethodHead)
	return []Route{login, callback, a.post(a.site.logout, a.serveLogout), disconnect}
}

// begin announces work that Close waits for, until work.Done. It reports false
// once Close has been called.
func (a *Auth) begin() bool {
	a.work.mu.Lock()
	defer a.work.mu.Unlock()
	if a.work.closed {
		return false
	}
	a.work.Add(1)
	return true
}

// Close lets no further refresh or callback begin, and waits until those under
// way are stored or ctx is done. Call it after the HTTP server has shut down.
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
