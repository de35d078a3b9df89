package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/alexedwards/scs/v2/memstore"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/nethttpmw"
)

func recipes() []recipe {
	return []recipe{
		{"x/oauth2 TokenSource, token in the scs session", false, false, deployHomemade(plain)},
		{"the same with an idle timeout", false, true, deployHomemade(plain)},
		{"+ singleflight", false, false, deployHomemade(flight)},
		{"+ mutex and reload", false, false, deployHomemade(reload)},
		{"+ mutex and reload, with an idle timeout", false, true, deployHomemade(reload)},
		{"mxmconnect, with an idle timeout", true, true, deployOurs},
	}
}

// sessionTokens keeps the token in the session, as JSON.
type sessionTokens struct {
	conf  *oauth2.Config
	srv   *mxmtest.Server
	store *memstore.MemStore
	nodes []*node
}

// node is an instance.
type node struct {
	*scs.SessionManager
	conf    *oauth2.Config
	flights singleflight.Group
	locks   sync.Map // user → *sync.Mutex
	handler http.Handler
}

// strategy returns the token to use for a session that holds old.
type strategy func(n *node, ctx context.Context, old *oauth2.Token) (*oauth2.Token, error)

// plain is x/oauth2's own example, and what most applications do.
func plain(n *node, ctx context.Context, old *oauth2.Token) (*oauth2.Token, error) {
	return n.conf.TokenSource(ctx, old).Token()
}

// flight lets one of the requests that are under way refresh for all.
func flight(n *node, ctx context.Context, old *oauth2.Token) (*oauth2.Token, error) {
	t, err, _ := n.flights.Do(n.GetString(ctx, "user"), func() (any, error) { return plain(n, ctx, old) })
	if err != nil {
		return nil, err
	}
	return t.(*oauth2.Token), nil
}

// reload lets one at a time refresh, with the token that is stored by then, and
// stores the new one before the next may look.
func reload(n *node, ctx context.Context, old *oauth2.Token) (*oauth2.Token, error) {
	if old.Valid() {
		return old, nil
	}
	lock, _ := n.locks.LoadOrStore(n.GetString(ctx, "user"), &sync.Mutex{})
	lock.(*sync.Mutex).Lock()
	defer lock.(*sync.Mutex).Unlock()
	stored, err := n.Load(context.Background(), n.Token(ctx))
	if err != nil {
		return nil, err
	}
	current := n.token(stored)
	if current.Valid() {
		return current, nil
	}
	t, err := plain(n, ctx, current)
	if err != nil {
		return nil, err
	}
	n.keep(stored, t)
	if _, _, err := n.Commit(stored); err != nil {
		return nil, err
	}
	return t, nil
}

func (n *node) token(ctx context.Context) *oauth2.Token {
	var t oauth2.Token
	must(0, json.Unmarshal([]byte(n.GetString(ctx, "token")), &t))
	return &t
}

func (n *node) keep(ctx context.Context, t *oauth2.Token) {
	n.Put(ctx, "token", string(must(json.Marshal(t))))
}

func deployHomemade(how strategy) func(*mxmtest.Server, int, bool) app {
	return func(srv *mxmtest.Server, instances int, idle bool) app {
		h := &sessionTokens{srv: srv, store: memstore.NewWithCleanupInterval(0), conf: &oauth2.Config{
			ClientID: mxmtest.DefaultClientID, ClientSecret: mxmtest.DefaultClientSecret,
			// Not AuthStyleAutoDetect: it presents a refused token twice.
			Endpoint: oauth2.Endpoint{TokenURL: srv.URL + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams},
		}}
		for range instances {
			n := &node{SessionManager: scs.New(), conf: h.conf}
			n.Store = h.store
			if idle {
				n.IdleTimeout = idleTimeout
			}
			mux := http.NewServeMux()
			mux.HandleFunc("GET /page", func(http.ResponseWriter, *http.Request) { time.Sleep(slowPage) })
			mux.HandleFunc("GET /token", func(w http.ResponseWriter, r *http.Request) {
				old := n.token(r.Context())
				t, err := how(n, r.Context(), old)
				if err != nil {
					http.Error(w, "no token", http.StatusBadGateway)
					return
				}
				if t.AccessToken != old.AccessToken {
					n.keep(r.Context(), t)
				}
			})
			n.handler = n.LoadAndSave(mux)
			h.nodes = append(h.nodes, n)
		}
		return h
	}
}

func (h *sessionTokens) signIn(userID string) []*http.Cookie {
	n := h.nodes[0]
	issued := h.srv.Issue(userID)
	ctx := must(n.Load(context.Background(), ""))
	n.Put(ctx, "user", userID)
	n.keep(ctx, &oauth2.Token{AccessToken: issued.AccessToken, RefreshToken: issued.RefreshToken, TokenType: "Bearer", Expiry: time.Now().Add(-time.Hour)})
	session, _, err := n.Commit(ctx)
	must(0, err)
	return []*http.Cookie{{Name: n.Cookie.Name, Value: session}}
}

func (h *sessionTokens) instance(i int) http.Handler { return h.nodes[i].handler }

func (h *sessionTokens) lost(_ string, cookies []*http.Cookie) bool {
	ctx := must(h.nodes[0].Load(context.Background(), cookies[0].Value))
	return !h.srv.IsLive(h.nodes[0].token(ctx).RefreshToken)
}

func (h *sessionTokens) close() {}

type mxmconnect struct {
	srv      *mxmtest.Server
	entrance *core.Auth // where people sign in, before the instances of the storm start
	auths    []*core.Auth
	handlers []http.Handler
}

func deployOurs(srv *mxmtest.Server, instances int, idle bool) app {
	store := core.NewMemory()
	newAuth := func() *core.Auth {
		cfg := srv.Config("http://127.0.0.1:8080")
		cfg.Sessions, cfg.Grants, cfg.Keys = core.NewSessions(store), store, [][]byte{cookieKey}
		cfg.Logger = slog.New(slog.DiscardHandler)
		if idle {
			cfg.Sessions.IdleTimeout = idleTimeout
		}
		return must(core.New(cfg))
	}
	m := &mxmconnect{srv: srv, entrance: newAuth()}
	for range instances {
		auth := newAuth()
		mux := http.NewServeMux()
		mux.HandleFunc("GET /page", func(http.ResponseWriter, *http.Request) { time.Sleep(slowPage) })
		mux.HandleFunc("GET /token", func(w http.ResponseWriter, r *http.Request) {
			if _, err := auth.TokenSource(r.Context(), nethttpmw.UserID(r)).Token(); err != nil {
				core.WriteError(w, r, err)
			}
		})
		m.auths = append(m.auths, auth)
		m.handlers = append(m.handlers, nethttpmw.Middleware(auth)(mux))
	}
	return m
}

func (m *mxmconnect) signIn(userID string) []*http.Cookie {
	m.srv.SignInAs(userID)
	routes := routesOf(m.entrance)
	w := httptest.NewRecorder()
	routes.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://127.0.0.1:8080/auth/musixmatch/login", nil))
	attempt := w.Result().Cookies()
	r := must(http.NewRequest(http.MethodGet, w.Header().Get("Location"), nil))
	resp := must(http.DefaultTransport.RoundTrip(r))
	resp.Body.Close()
	back := must(url.Parse(resp.Header.Get("Location")))
	done := httptest.NewRequest(http.MethodGet, back.String(), nil)
	for _, c := range attempt {
		done.AddCookie(c)
	}
	w = httptest.NewRecorder()
	routes.ServeHTTP(w, done)
	check(w.Code == http.StatusSeeOther, "no sign-in: %d %s", w.Code, w.Body)
	for _, c := range w.Result().Cookies() {
		if c.Name == "mxm_session" {
			return []*http.Cookie{c}
		}
	}
	panic("no session")
}

func (m *mxmconnect) instance(i int) http.Handler { return m.handlers[i] }

// lost compares what is stored with the server's books: the refresh token lives if
// the access token that came with it is the newest of a login that lives. To end
// the access token and see it healed would prove less: an instance that has known
// a token for less than 15 seconds does not believe that it is dead.
func (m *mxmconnect) lost(userID string, _ []*http.Cookie) bool {
	t, err := m.auths[0].TokenSource(context.Background(), userID).Token()
	live := m.srv.Live(userID)
	return err != nil || len(live) != 1 || live[0].AccessToken != t.AccessToken
}

func (m *mxmconnect) close() {
	for _, a := range append(m.auths, m.entrance) {
		must(0, a.Close(context.Background()))
	}
}
