package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"

	"github.com/zitadel/oidc/v3/pkg/client/rp"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"golang.org/x/oauth2"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// farClient is an application far away from Musixmatch.
type farClient interface {
	// start begins a sign-in that seems to be made age ago, and returns its callback.
	start(userID string, age time.Duration) (callback func())
	// get calls the API as the user, and returns the status of the answer.
	get(userID string) int
	// restart makes it a new process, with what the old one had stored.
	restart()
	// dueAge is the age of a token that is about to expire, and due for a refresh.
	dueAge() time.Duration
	transport() *http.Transport
	close()
}

type farContender struct {
	name string
	ours bool
	open func(*farMusixmatch) farClient
}

func farContenders() []farContender {
	return []farContender{
		{"mxmconnect", true, newFarOurs},
		{"x/oauth2, pooled client", false, newFarOAuth2},
		{"zitadel/oidc rp", false, newFarZitadel},
	}
}

const farApp = "https://app.example"

// authorize is what the browser does at Musixmatch. It returns the callback's URL.
func (m *farMusixmatch) authorize(location, userID string) *url.URL {
	m.SignInAs(userID)
	w := httptest.NewRecorder()
	m.Server.ServeHTTP(w, httptest.NewRequest(http.MethodGet, location, nil))
	back, err := url.Parse(w.Header().Get("Location"))
	check(err == nil && back.Query().Get("code") != "", "no code: %d %s", w.Code, w.Body)
	return back
}

func (m *farMusixmatch) whoami(c *http.Client) int {
	resp, err := c.Get(m.APIURL() + "/whoami")
	must(0, err)
	defer resp.Body.Close()
	must(io.Copy(io.Discard, resp.Body))
	return resp.StatusCode
}

// farOurs is mxmconnect: one instance that serves, and one in front of it where
// people have signed in long ago.
type farOurs struct {
	srv        *farMusixmatch
	store      *core.Memory
	pool       *http.Transport
	auth, past *core.Auth
}

func newFarOurs(srv *farMusixmatch) farClient {
	c := &farOurs{srv: srv, store: core.NewMemory()}
	c.past, _ = c.instance()
	c.auth, c.pool = c.instance()
	return c
}

func (c *farOurs) instance() (*core.Auth, *http.Transport) {
	pool := c.srv.transport()
	cfg := c.srv.Config(farApp)
	cfg.Sessions, cfg.Grants, cfg.Keys = core.NewSessions(c.store), c.store, [][]byte{cookieKey}
	cfg.HTTPClient = &http.Client{Transport: pool}
	cfg.Logger = slog.New(slog.DiscardHandler)
	return must(core.New(cfg)), pool
}

func (c *farOurs) start(userID string, age time.Duration) func() {
	auth := c.auth
	if age > 0 {
		auth = c.past
	}
	routes := routesOf(auth)
	w := httptest.NewRecorder()
	routes.ServeHTTP(w, httptest.NewRequest(http.MethodGet, farApp+"/auth/musixmatch/login", nil))
	r := httptest.NewRequest(http.MethodGet, c.srv.authorize(w.Header().Get("Location"), userID).String(), nil)
	for _, cookie := range w.Result().Cookies() {
		r.AddCookie(cookie)
	}
	return func() {
		c.srv.Configure(func(s *mxmtest.Settings) { s.DateSkew = -age })
		defer c.srv.Configure(func(s *mxmtest.Settings) { s.DateSkew = 0 })
		w := httptest.NewRecorder()
		routes.ServeHTTP(w, r)
		check(w.Code == http.StatusSeeOther, "no sign-in: %d %s", w.Code, w.Body)
	}
}

func (c *farOurs) get(userID string) int {
	return c.srv.whoami(c.auth.Client(context.Background(), userID))
}

func (c *farOurs) restart() {
	c.closeServing()
	c.auth, c.pool = c.instance()
}

func (c *farOurs) closeServing() {
	must(0, c.auth.Close(context.Background()))
	c.pool.CloseIdleConnections()
}

func (c *farOurs) dueAge() time.Duration      { return time.Hour - time.Minute }
func (c *farOurs) transport() *http.Transport { return c.pool }

func (c *farOurs) close() {
	c.closeServing()
	must(0, c.past.Close(context.Background()))
}

// farOAuth2 is x/oauth2 with one pooled client for everything.
type farOAuth2 struct {
	srv      *farMusixmatch
	pool     *http.Transport
	conf     *oauth2.Config
	exchange func(ctx context.Context, code, verifier string) (*oauth2.Token, error)
	source   func(ctx context.Context, t *oauth2.Token) oauth2.TokenSource
	users    map[string]*http.Client
}

func newFarOAuth2(srv *farMusixmatch) farClient {
	conf := farConfig(srv)
	return &farOAuth2{
		srv: srv, pool: srv.transport(), conf: conf, users: map[string]*http.Client{},
		exchange: func(ctx context.Context, code, verifier string) (*oauth2.Token, error) {
			return conf.Exchange(ctx, code, oauth2.VerifierOption(verifier))
		},
		source: conf.TokenSource,
	}
}

func farConfig(srv *farMusixmatch) *oauth2.Config {
	registered := srv.Config(farApp)
	return &oauth2.Config{
		ClientID: registered.ClientID, ClientSecret: registered.ClientSecret, RedirectURL: registered.RedirectURL, Scopes: []string{"profile", "email"},
		Endpoint: oauth2.Endpoint{AuthURL: srv.URL + "/oauth/authorize", TokenURL: srv.URL + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams},
	}
}

// newFarZitadel is farOAuth2 with zitadel's exchange and refresh.
func newFarZitadel(srv *farMusixmatch) farClient {
	c := newFarOAuth2(srv).(*farOAuth2)
	party := must(rp.NewRelyingPartyOAuth(c.conf, rp.WithAuthStyle(oauth2.AuthStyleInParams), rp.WithHTTPClient(&http.Client{Transport: c.pool})))
	c.exchange = func(ctx context.Context, code, verifier string) (*oauth2.Token, error) {
		t, err := rp.CodeExchange[*oidc.IDTokenClaims](ctx, code, party, rp.WithCodeVerifier(verifier))
		if err != nil {
			return nil, err
		}
		return t.Token, nil
	}
	c.source = func(ctx context.Context, t *oauth2.Token) oauth2.TokenSource {
		return oauth2.ReuseTokenSource(t, refreshed(func() (*oauth2.Token, error) {
			t, err := rp.RefreshTokens[*oidc.IDTokenClaims](ctx, party, t.RefreshToken, "", "")
			if err != nil {
				return nil, err
			}
			return t.Token, nil
		}))
	}
	return c
}

type refreshed func() (*oauth2.Token, error)

func (f refreshed) Token() (*oauth2.Token, error) { return f() }

func (c *farOAuth2) start(userID string, age time.Duration) func() {
	client := &http.Client{Transport: c.pool}
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, client)
	verifier := oauth2.GenerateVerifier()
	back := c.srv.authorize(c.conf.AuthCodeURL(oauth2.GenerateVerifier(), oauth2.S256ChallengeOption(verifier)), userID)
	return func() {
		t := must(c.exchange(ctx, back.Query().Get("code"), verifier))
		resp := must(client.PostForm(c.srv.URL+"/oauth/token-metadata", url.Values{"accessToken": {t.AccessToken}}))
		defer resp.Body.Close()
		var who struct{ Sub string }
		must(0, json.NewDecoder(resp.Body).Decode(&who))
		check(who.Sub == userID, "signed in as %q", who.Sub)
		t.Expiry = t.Expiry.Add(-age)
		c.users[userID] = &http.Client{Transport: &oauth2.Transport{Base: c.pool, Source: c.source(ctx, t)}}
	}
}

func (c *farOAuth2) get(userID string) int      { return c.srv.whoami(c.users[userID]) }
func (c *farOAuth2) restart()                   { c.pool.CloseIdleConnections() }
func (c *farOAuth2) dueAge() time.Duration      { return time.Hour - 5*time.Second } // within x/oauth2's 10 s
func (c *farOAuth2) transport() *http.Transport { return c.pool }
func (c *farOAuth2) close()                     { c.pool.CloseIdleConnections() }
