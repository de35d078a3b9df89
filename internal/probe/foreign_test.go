package probe_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/internal/probe"
)

// foreign is an authorization server of another make: OpenID Connect discovery
// only, other paths, a sign-in that passes another host and wants its cookie, the
// secret in a header, introspection by RFC 7662, tokens like JWTs, other error
// codes and statuses, no expires_in, and members that nobody knows.
type foreign struct {
	noIntrospection, noUserinfo bool
	keepsSpent                  bool // a spent refresh token stays valid

	mu    sync.Mutex
	n     int
	codes map[string]string // to scope
	alive map[string]int    // access and refresh tokens, to their login
	spent map[string]int
}

const issuer = "http://id.test/realms/music"

func (f *foreign) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, secret, _ := r.BasicAuth()
	client := id == "a+client" && secret == "a%2Bsecret" // RFC 6749 section 2.3.1
	switch r.Host + r.URL.Path {
	case "id.test/realms/music/.well-known/openid-configuration":
		doc := map[string]any{
			"issuer": issuer, "authorization_endpoint": issuer + "/auth", "token_endpoint": issuer + "/token",
			"scopes_supported": []string{"openid", "offline_access", "profile", "email"}, "mtls_endpoint_aliases": map[string]string{"x": "y"},
		}
		if !f.noIntrospection {
			doc["introspection_endpoint"] = issuer + "/introspect"
		}
		if !f.noUserinfo {
			doc["userinfo_endpoint"] = issuer + "/userinfo"
		}
		answer(w, 200, doc)
	case "id.test/realms/music/auth":
		if r.URL.Query().Get("done") == "" {
			http.Redirect(w, r, "http://login.test/?back="+url.QueryEscape(r.URL.RawQuery), http.StatusFound)
			return
		}
		f.n++
		code := fmt.Sprintf("code-%d", f.n)
		f.codes[code] = r.URL.Query().Get("scope")
		http.Redirect(w, r, redirect+"?"+url.Values{"code": {code}, "state": r.URL.Query()["state"], "session_state": {"x"}, "iss": {issuer}}.Encode(), http.StatusFound)
	case "login.test/":
		if _, err := r.Cookie("session"); err != nil {
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "ada"})
			http.Redirect(w, r, r.URL.RequestURI(), http.StatusFound)
			return
		}
		http.Redirect(w, r, "http://id.test/realms/music/auth?done=1&"+r.URL.Query().Get("back"), http.StatusFound)
	case "id.test/realms/music/token":
		if !client {
			answer(w, 401, map[string]any{"error": "invalid_client", "error_hint": "use the header"})
			return
		}
		f.token(w, r)
	case "id.test/realms/music/introspect":
		if !client {
			answer(w, 401, map[string]any{"error": "access_denied"})
			return
		}
		_, active := f.alive[r.FormValue("token")]
		answer(w, 200, map[string]any{"active": active, "exp": 1, "aud": []string{"a", "b"}})
	case "id.test/realms/music/userinfo":
		if _, ok := f.alive[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]; !ok {
			w.WriteHeader(401)
			return
		}
		answer(w, 200, map[string]any{"sub": "ada"})
	default:
		http.Error(w, "<h1>Not here</h1>", 404)
	}
}

func (f *foreign) token(w http.ResponseWriter, r *http.Request) {
	switch r.FormValue("grant_type") {
	case "authorization_code":
		scope, ok := f.codes[r.FormValue("code")]
		if !ok {
			answer(w, 400, map[string]any{"error": "invalid_grant"})
			return
		}
		f.issue(w, f.n, strings.Contains(scope, "offline_access"))
	case "refresh_token":
		old := r.FormValue("refresh_token")
		login, ok := f.alive[old]
		switch family, spent := f.spent[old]; {
		case spent && !f.keepsSpent:
			f.end(family)
			fallthrough
		case !ok:
			answer(w, 401, map[string]any{"error": "token_inactive", "status_code": 401})
			return
		case f.keepsSpent:
		default:
			f.end(login)
			f.spent[old] = login
		}
		f.issue(w, login, true)
	default:
		answer(w, 400, map[string]any{"error": "unauthorized_client"})
	}
}

func (f *foreign) end(login int) {
	for token, of := range f.alive {
		if of == login {
			delete(f.alive, token)
		}
	}
}

func (f *foreign) issue(w http.ResponseWriter, login int, refresh bool) {
	f.n++
	access := fmt.Sprintf("eyJhbGciOiJub25lIn0.%d.sig", f.n)
	f.alive[access] = login
	a := map[string]any{"access_token": access, "token_type": "bearer", "not-before-policy": 0, "id_token": "e30.e30."}
	if refresh {
		a["refresh_token"] = fmt.Sprintf("rt-%d", f.n)
		f.alive[a["refresh_token"].(string)] = login
	}
	answer(w, 200, a)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

// Servers of another make are measured as well as they let themselves be.
func TestForeignServers(t *testing.T) {
	for name, c := range map[string]struct {
		server *foreign
		says   map[string]string // answers, by question
		open   []string
		notes  []string
	}{
		"introspection with a secret": {
			server: &foreign{},
			says: map[string]string{"auth": "it does", "kill": "yes", "user": "no", "reuse": "yes", "grace": "no: a replay at once is refused with status 401",
				"loser": "no: status 401", "lifetime": "it does not say", "issuer": "yes, the issuer of the discovery document", "cut": "yes", "birth": "yes", "death": "yes"},
			notes: []string{"Authorization header only", "token and client authentication"},
		},
		"no introspection": {
			server: &foreign{noIntrospection: true},
			says:   map[string]string{"kill": "yes", "user": "no", "reuse": "yes", "single": "no", "cut": "yes", "rotation": "yes"},
			open:   []string{"auth", "birth", "death"},
			notes:  []string{"asked of " + issuer + "/userinfo instead"},
		},
		"nobody tells whether a token lives": {
			server: &foreign{noIntrospection: true, noUserinfo: true},
			says:   map[string]string{"reuse": "yes", "single": "no", "cut": "yes", "rotation": "yes"},
			open:   []string{"auth", "birth", "death", "kill", "user"},
		},
		"a spent token stays valid": {
			server: &foreign{keepsSpent: true},
			says: map[string]string{"rotation": "yes", "kill": "no: the old access token lives on",
				"grace": "yes, at least 2m0s: a replay gets another pair, and the first lives on"},
			open: []string{"reuse", "loser", "death", "cut"},
		},
	} {
		test(t, name, func(t *testing.T) {
			f := c.server
			f.codes, f.alive, f.spent = map[string]string{}, map[string]int{}, map[string]int{}
			transport := serve(t, f)
			report, err := probe.Run(t.Context(), probe.Options{
				BaseURL: issuer, ClientID: "a client", ClientSecret: "a+secret", RedirectURL: redirect,
				Transport: transport, SignIn: probe.Follow(transport, redirect), Progress: func(string) {}, Patience: 10 * time.Second,
				Grace: 2 * time.Minute,
			})
			require.NoError(t, err)
			var text strings.Builder
			require.NoError(t, report.Write(&text))
			for key, says := range c.says {
				require.True(t, strings.HasPrefix(report.Findings[key].Answer, says), "%s: %s", key, report.Findings[key].Answer)
			}
			for _, q := range probe.Questions {
				if q.Key != "rate" && q.Key != "code" {
					require.Equal(t, slices.Contains(c.open, q.Key), report.Findings[q.Key].How == "", "%s: %v", q.Key, report.Findings[q.Key])
				}
			}
			for _, note := range c.notes {
				require.Contains(t, strings.Join(report.Notes, "\n"), note)
			}
			require.Contains(t, text.String(), `TokenURL: "`+issuer+`/token"`)
			require.Contains(t, text.String(), `Scopes: []string{"offline_access", "openid"}`)
			for token := range f.alive {
				require.NotContains(t, text.String(), token)
			}
		})
	}
}
