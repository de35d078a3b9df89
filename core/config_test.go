package core

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"
)

func validConfig() Config {
	return Config{ClientID: "client", ClientSecret: testSecret, RedirectURL: "https://app.example/auth/musixmatch/callback"}
}

func TestConfigNamesEveryMistake(t *testing.T) {
	key := testKey(1)
	for _, tc := range []struct {
		field  string
		change func(*Config)
	}{
		{"ClientID", func(c *Config) { c.ClientID = "" }},
		{"ClientSecret", func(c *Config) { c.ClientSecret = "" }},
		{"ClientSecret", func(c *Config) { c.ClientSecret = "a\nb" }},
		{"RedirectURL", func(c *Config) { c.RedirectURL = "/callback" }},
		{"RedirectURL", func(c *Config) { c.RedirectURL = "http://app.example/callback" }},
		{"RedirectURL", func(c *Config) { c.RedirectURL = "ftp://app.example/callback" }},
		{"RedirectURL", func(c *Config) { c.RedirectURL = "https://user@app.example/callback" }},
		{"RedirectURL", func(c *Config) { c.RedirectURL = "https://app.example/callback?code=1" }},
		{"RedirectURL", func(c *Config) { c.RedirectURL = "https://app.example/callback#" }},
		{"RedirectURL", func(c *Config) { c.RedirectURL = "https://app.example" }},
		{"RedirectURL", func(c *Config) { c.RedirectURL = "https://app.example/a/../callback" }},
		{"RedirectURL", func(c *Config) { c.RedirectURL = "https://app.example/auth/login" }},
		{"RedirectURL", func(c *Config) { c.PathPrefix = "/other" }},
		{"PathPrefix", func(c *Config) { c.PathPrefix = "app/" }},
		{"BasePath", func(c *Config) { c.BasePath = "auth" }},
		{"BasePath", func(c *Config) { c.BasePath = "/auth/{id}" }},
		{"BaseURL", func(c *Config) { c.BaseURL = "http://connect.example" }},
		{"Endpoint.TokenURL", func(c *Config) { c.Endpoint.TokenURL = "http://connect.example/token" }},
		{"Endpoint.Issuer", func(c *Config) { c.Endpoint.IssRequired = true }},
		{"Scopes", func(c *Config) { c.Scopes = []string{"a b"} }},
		{"Keys", func(c *Config) { c.Grants = NewMemory() }},
		{"Keys", func(c *Config) { c.Sessions = NewSessions(NewMemory()) }},
		{"Keys[0]", func(c *Config) { c.Keys = [][]byte{key[:31]} }},
		{"Keys[1]", func(c *Config) { c.Keys = [][]byte{key, bytes.Repeat([]byte{7}, 32)} }},
		{"Sessions", func(c *Config) {
			c.Keys, c.Sessions = [][]byte{key}, NewSessions(NewMemory())
			c.Sessions.Cookie.Name = "session"
		}},
		{"Sessions", func(c *Config) {
			c.Keys, c.Sessions = [][]byte{key}, NewSessions(NewMemory())
			c.Sessions.Cookie.Domain = "app.example"
		}},
		{"Sessions", func(c *Config) {
			c.Keys, c.Sessions = [][]byte{key}, NewSessions(NewMemory())
			c.Sessions.Cookie.HttpOnly = false
		}},
		{"Sessions", func(c *Config) {
			c.Keys, c.Sessions, c.RedirectURL = [][]byte{key}, NewSessions(NewMemory()), "http://127.0.0.1:8080/cb"
			c.Sessions.Cookie.Path = "/elsewhere"
		}},
		{"Sessions", func(c *Config) {
			c.Keys, c.Sessions, c.RedirectURL = [][]byte{key}, NewSessions(NewMemory()), "http://127.0.0.1:8080/cb"
			c.Sessions.Cookie.Domain = "app.example"
		}},
		{"Sessions", func(c *Config) {
			c.Keys, c.Sessions = [][]byte{key}, scs.New()
			c.Sessions.Cookie.SameSite = http.SameSiteNoneMode
		}},
		{"Sessions", func(c *Config) {
			c.Keys, c.Sessions = [][]byte{key}, scs.New()
			c.Sessions.Cookie.SameSite = http.SameSiteStrictMode
		}},
		{"Sessions", func(c *Config) { c.Keys, c.Sessions = [][]byte{key}, &scs.SessionManager{} }},
		{"AfterLogin", func(c *Config) { c.AfterLogin = "//evil.example" }},
		{"AfterLogin", func(c *Config) { c.AfterLogin = "/auth/musixmatch/login" }},
		{"AfterLogin", func(c *Config) { c.RedirectURL, c.AfterLogin = "https://app.example/callback", "/login" }},
		{"AfterLogin", func(c *Config) { c.BasePath, c.AfterLogin = "/go", "/auth/musixmatch/callback" }},
		{"AfterLogout", func(c *Config) { c.AfterLogout = "https://evil.example" }},
		{"AfterLogout", func(c *Config) { c.PathPrefix, c.AfterLogout = "/auth", "/musixmatch/x" }},
		{"TrustedOrigins[0]", func(c *Config) { c.TrustedOrigins = []string{"https://spa.example/"} }},
		{"TrustedOrigins[1]", func(c *Config) { c.TrustedOrigins = []string{"https://spa.example", "app.example"} }},
		{"APIOrigins[0]", func(c *Config) { c.APIOrigins = []string{"http://api.example"} }},
		{"RefreshTimeout", func(c *Config) { c.RefreshTimeout = time.Millisecond }},
		{"RefreshTimeout", func(c *Config) { c.RefreshTimeout = time.Hour }},
		{"OnLogin", func(c *Config) { c.AppUser = func(*http.Request) string { return "" } }},
		{"OnDisconnect", func(c *Config) { c.OnDisconnect = func(context.Context, string, string) error { return nil } }},
		{"LinkedUser", func(c *Config) { c.LinkedUser = noLink }},
		{"HTTPClient", func(c *Config) { c.HTTPClient = &http.Client{Transport: http.NewFileTransport(http.Dir("."))} }},
	} {
		t.Run(tc.field, func(t *testing.T) {
			c := validConfig()
			tc.change(&c)
			_, err := New(c)
			require.ErrorContains(t, err, tc.field+": ")
			require.NotContains(t, err.Error(), testSecret)
		})
	}
}

func TestConfigJoinsMistakes(t *testing.T) {
	_, err := New(Config{RefreshTimeout: -1, BasePath: "x", Keys: [][]byte{nil}})
	require.Error(t, err)
	for _, field := range []string{"ClientID", "ClientSecret", "BasePath", "RefreshTimeout", "Keys[0]"} {
		require.ErrorContains(t, err, field)
	}
}

// A mistake that follows from another is reported once, and those that depend on
// where the routes are come with all others, in the order of the fields.
func TestConfigMistakesAreInOrder(t *testing.T) {
	c := validConfig()
	c.ClientID, c.BaseURL = "", "http://connect.example"
	c.AfterLogin, c.AfterLogout = "/auth/musixmatch/login", "/auth/musixmatch/callback"
	c.RefreshTimeout = time.Millisecond
	for range 10 {
		_, err := New(c)
		require.EqualError(t, err, `musixmatch: the configuration is not usable:
ClientID: is required
BaseURL: must be https; plain http is for loopback hosts, or for DangerouslyAllowHTTP
RefreshTimeout: must be from 1s to 5m, is 1ms
AfterLogin: "/auth/musixmatch/login" is a route of this package
AfterLogout: "/auth/musixmatch/callback" is a route of this package`)
	}
}

// In connect mode /login is not a route of this package.
func TestConfigLeavesOtherPathsToTheApplication(t *testing.T) {
	newTestAuth(t, func(c *Config) {
		c.RedirectURL, c.AfterLogout = "https://app.example/callback", "/login"
		c.AppUser = func(*http.Request) string { return "" }
		c.OnLogin = func(context.Context, *Login) error { return nil }
	})
}

func TestConfigDefaults(t *testing.T) {
	a := newTestAuth(t, nil)
	require.Equal(t, Endpoint{
		AuthURL:     "https://connect.musixmatch.com/oauth/authorize",
		TokenURL:    "https://connect.musixmatch.com/oauth/token",
		MetadataURL: "https://connect.musixmatch.com/oauth/token-metadata",
	}, a.cfg.Endpoint)
	require.Equal(t, []string{"profile", "email"}, a.cfg.Scopes)
	require.Equal(t, 30*time.Second, a.cfg.RefreshTimeout)
	require.Equal(t, "/auth/musixmatch", a.cfg.BasePath)
	var paths []string
	for _, r := range a.Routes() {
		paths = append(paths, r.Path)
	}
	require.ElementsMatch(t, []string{
		"/auth/musixmatch/login", "/auth/musixmatch/callback", "/auth/musixmatch/logout", "/auth/musixmatch/disconnect",
	}, paths)
}

func TestConfigAcceptsLoopbackHTTPAndDanger(t *testing.T) {
	for _, redirect := range []string{"http://127.0.0.1:8080/cb", "http://[::1]:8080/cb", "http://localhost/cb"} {
		a := newTestAuth(t, func(c *Config) { c.RedirectURL = redirect })
		require.False(t, a.cfg.Sessions.Cookie.Secure, "http has neither Secure nor the prefix")
		require.Equal(t, "mxm_session", a.cfg.Sessions.Cookie.Name)
	}
	newTestAuth(t, func(c *Config) { c.RedirectURL, c.DangerouslyAllowHTTP = "http://app.example/cb", true })
}

func TestConfigAcceptsATransportThatDeclaresItself(t *testing.T) {
	newTestAuth(t, func(c *Config) { c.HTTPClient = &http.Client{Transport: oneShot{http.DefaultTransport}} })
}

type oneShot struct{ http.RoundTripper }

func (oneShot) SendsOnce() bool { return true }

func TestSecretsDoNotPrint(t *testing.T) {
	c := validConfig()
	c.Keys = [][]byte{testKey(1)}
	a := newTestAuth(t, func(in *Config) { in.Keys = c.Keys })
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "config", c, "pointer", &c, "nested", struct{ C Config }{c}, "auth", a)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "config", c, "pointer", &c, "nested", struct{ C Config }{c}, "auth", a)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&log, verb+verb+verb+verb, c, &c, a, struct{ C Config }{c})
	}
	text, err := json.Marshal(map[string]any{"config": c})
	require.NoError(t, err)
	log.Write(text)
	secretHex := fmt.Sprintf("%x", testSecret)
	key := fmt.Sprintf("%x", c.Keys[0])
	for _, leak := range []string{testSecret, secretHex, key, strings.ToUpper(key), string(c.Keys[0]), fmt.Sprint(c.Keys[0])} {
		require.NotContains(t, log.String(), leak)
	}
}
