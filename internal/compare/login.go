package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/google/uuid"
	"github.com/gorilla/sessions"
	"github.com/markbates/goth"
	"github.com/markbates/goth/gothic"
	"github.com/markbates/goth/providers/gitea"
	"github.com/zitadel/oidc/v3/pkg/client/rp"
	zitadelhttp "github.com/zitadel/oidc/v3/pkg/http"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"golang.org/x/oauth2"

	"github.com/mxmconnect/mxmconnect/core"
)

// flow is somebody's two routes of a sign-in.
type flow struct {
	login, callback     http.Handler
	loginPath, backPath string
}

func ourFlow() flow {
	routes := routesOf(newAuth(nil))
	return flow{routes, routes, "/auth/musixmatch/login", callbackPath}
}

func loginRedirect() group {
	bare := func(http.ResponseWriter, *http.Request, *oidc.Tokens[*oidc.IDTokenClaims]) {}
	return group{title: "login redirect", contenders: []contender{
		ourFlow().start(contender{name: "mxmconnect, PKCE", ours: true}),
		zitadel(bare).start(contender{name: "zitadel/oidc rp, PKCE"}),
		homemade().start(contender{name: "x/oauth2 + scs, PKCE", why: "it keeps the attempt in the memory of the process, one session for each visitor; ours is sealed in a cookie"}),
		gothicFlow().start(contender{name: "goth/gothic, no PKCE"}),
	}}
}

func callback() group {
	alone := func(http.ResponseWriter, *http.Request, *oidc.Tokens[*oidc.IDTokenClaims]) {}
	store := core.NewMemory()
	claimed := func(_ http.ResponseWriter, r *http.Request, t *oidc.Tokens[*oidc.IDTokenClaims]) {
		claim(store, r)
		introspect(t.Token)
	}
	manager := scs.New()
	complete := zitadel(func(w http.ResponseWriter, r *http.Request, t *oidc.Tokens[*oidc.IDTokenClaims]) {
		claim(store, r)
		establish(r.Context(), manager, introspect(t.Token), t.Token)
		http.Redirect(w, r, "/", http.StatusFound)
	})
	complete.callback = manager.LoadAndSave(complete.callback)
	return group{title: "callback, without network", contenders: []contender{
		ourFlow().finish(contender{name: "mxmconnect", ours: true}),
		zitadel(alone).finish(contender{name: "zitadel/oidc rp",
			why: "it exchanges the code and no more: the callback can be replayed, whose the token is remains unknown, it is stored nowhere and nobody is signed in"}),
		zitadel(claimed).finish(contender{name: "… + claim, introspection",
			why: "the tokens are stored nowhere, and nobody is signed in"}),
		complete.finish(contender{name: "… + claim, introspection, scs session",
			why: "the tokens are in the session, as they are: there is one record to write, and nothing to seal"}),
		homemade().finish(contender{name: "x/oauth2 + scs, introspection",
			why: "it claims nothing, and the tokens are in the session, as they are: there is one record to write, and nothing to seal"}),
		gothicFlow().finish(contender{name: "goth/gothic"}),
	}}
}

// start makes the login redirect the work of c.
func (f flow) start(c contender) contender {
	u := must(url.Parse(origin + f.loginPath))
	r := &http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: http.Header{}, RequestURI: u.RequestURI()}
	c.prepare = repeated(func() {
		w := &discard{header: http.Header{}}
		f.login.ServeHTTP(w, r.WithContext(context.Background()))
		check(w.header["Location"] != nil && w.header["Set-Cookie"] != nil, "%s: no redirect", c.name)
	})
	return c
}

// finish makes the callback the work of c, each of a login of its own.
func (f flow) finish(c contender) contender {
	c.prepare = func(n int) func(int) {
		callbacks := make([]*http.Request, n)
		for i := range callbacks {
			callbacks[i] = attempt(f.login, f.loginPath, f.backPath)
		}
		return func(i int) {
			w := &discard{header: http.Header{}}
			f.callback.ServeHTTP(w, callbacks[i])
			check(w.header["Set-Cookie"] != nil, "%s: no sign-in", c.name)
		}
	}
	return c
}

// zitadel is its example, for a server that speaks OAuth without ID tokens.
func zitadel(done func(http.ResponseWriter, *http.Request, *oidc.Tokens[*oidc.IDTokenClaims])) flow {
	cookies := zitadelhttp.NewCookieHandler(cookieKey, cookieKey)
	party := must(rp.NewRelyingPartyOAuth(oauthConfig(), rp.WithPKCE(cookies), rp.WithHTTPClient(&http.Client{Transport: canned{}})))
	return flow{
		login: rp.AuthURLHandler(func() string { return uuid.New().String() }, party),
		callback: rp.CodeExchangeHandler(func(w http.ResponseWriter, r *http.Request, t *oidc.Tokens[*oidc.IDTokenClaims], _ string, _ rp.RelyingParty) {
			done(w, r, t)
		}, party),
		loginPath: "/login", backPath: "/callback",
	}
}

// claim makes a callback count once.
func claim(store core.GrantStore, r *http.Request) {
	record := core.Record{Version: uuid.New().String(), Expiry: time.Now().Add(time.Hour)}
	must(0, store.CommitGrant(r.Context(), "claim "+r.FormValue("state"), "", record))
}

// introspect asks whose a token is.
func introspect(t *oauth2.Token) (userID string) {
	resp := must((&http.Client{Transport: canned{}}).PostForm(metadataURL, url.Values{"accessToken": {t.AccessToken}}))
	defer resp.Body.Close()
	var who struct {
		Active bool
		Sub    string
	}
	must(0, json.NewDecoder(resp.Body).Decode(&who))
	check(who.Active && who.Sub == user, "not active")
	return who.Sub
}

// establish signs a user in, the tokens in the session.
func establish(ctx context.Context, m *scs.SessionManager, userID string, t *oauth2.Token) {
	must(0, m.RenewToken(ctx))
	m.Put(ctx, "user", userID)
	m.Put(ctx, "token", string(must(json.Marshal(t))))
}

// homemade is x/oauth2 with scs, as most applications put it together.
func homemade() flow {
	conf, m := oauthConfig(), scs.New()
	exchange := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Transport: canned{}})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) {
		state, verifier := oauth2.GenerateVerifier(), oauth2.GenerateVerifier()
		m.Put(r.Context(), "state", state)
		m.Put(r.Context(), "verifier", verifier)
		http.Redirect(w, r, conf.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier)), http.StatusFound)
	})
	mux.HandleFunc("GET /callback", func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		state, verifier := m.PopString(ctx, "state"), m.PopString(ctx, "verifier")
		check(state != "" && state == r.FormValue("state"), "state")
		t := must(conf.Exchange(exchange, r.FormValue("code"), oauth2.VerifierOption(verifier)))
		establish(ctx, m, introspect(t), t)
		http.Redirect(w, r, "/", http.StatusFound)
	})
	h := m.LoadAndSave(mux)
	return flow{h, h, "/login", "/callback"}
}

// gothicFlow is gothic over the plainest of goth's providers whose URLs can be
// set: one exchange, one question whose the token is.
func gothicFlow() flow {
	gothic.Store = sessions.NewCookieStore(cookieKey)
	provider := gitea.NewCustomisedURL("client", "secret", origin+"/callback", authURL, tokenURL, metadataURL, "profile", "email")
	provider.HTTPClient = &http.Client{Transport: canned{}}
	goth.UseProviders(provider)
	signedIn := sessions.NewCookieStore(cookieKey)
	with := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { h(w, gothic.GetContextWithProvider(r, provider.Name())) }
	}
	return flow{
		login: with(gothic.BeginAuthHandler),
		callback: with(func(w http.ResponseWriter, r *http.Request) {
			u := must(gothic.CompleteUserAuth(w, r))
			s, _ := signedIn.Get(r, "session")
			s.Values["user"], s.Values["refresh"] = u.UserID, u.RefreshToken
			must(0, s.Save(r, w))
			http.Redirect(w, r, "/", http.StatusFound)
		}),
		loginPath: "/login", backPath: "/callback",
	}
}

func oauthConfig() *oauth2.Config {
	return &oauth2.Config{
		ClientID: "client", ClientSecret: "secret", RedirectURL: origin + "/callback", Scopes: []string{"profile", "email"},
		Endpoint: oauth2.Endpoint{AuthURL: authURL, TokenURL: tokenURL, AuthStyle: oauth2.AuthStyleInParams},
	}
}
