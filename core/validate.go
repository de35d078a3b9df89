package core

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
	"github.com/mxmconnect/mxmconnect/core/internal/seal"
	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

// setDefaults fills in what the application left out. A default that follows
// from a field with a mistake is left out, too, so that validate does not
// report one mistake twice.
func (c *Config) setDefaults() {
	c.BaseURL = strings.TrimRight(cmp.Or(c.BaseURL, defaultBaseURL), "/")
	if musixmatch.CheckURL(c.BaseURL, c.DangerouslyAllowHTTP) == nil {
		c.Endpoint.AuthURL = cmp.Or(c.Endpoint.AuthURL, c.BaseURL+"/oauth/authorize")
		c.Endpoint.TokenURL = cmp.Or(c.Endpoint.TokenURL, c.BaseURL+"/oauth/token")
		c.Endpoint.MetadataURL = cmp.Or(c.Endpoint.MetadataURL, c.BaseURL+"/oauth/token-metadata")
	}
	scopes := []string{"profile", "email"}
	for _, s := range c.Scopes {
		if !slices.Contains(scopes, s) {
			scopes = append(scopes, s)
		}
	}
	c.Scopes = scopes

	if len(c.Keys) == 0 && c.Sessions == nil && c.Grants == nil {
		key := make([]byte, 32)
		rand.Read(key)
		c.Keys = [][]byte{key}
	}
	memory := NewMemory()
	if c.Sessions == nil {
		c.Sessions = NewSessions(memory)
	}
	if c.Grants == nil {
		c.Grants = memory
	}
	if callback, ok := c.callbackPath(); ok && c.BasePath == "" && cleanPath(callback) {
		c.BasePath = strings.TrimSuffix(path.Dir(callback), "/")
	}
	c.AfterLogin = cmp.Or(c.AfterLogin, "/")
	c.AfterLogout = cmp.Or(c.AfterLogout, "/")
	c.RefreshTimeout = cmp.Or(c.RefreshTimeout, defaultRefreshTimeout)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

// mistakes are what is wrong with a Config.
type mistakes []error

func (m *mistakes) add(field, format string, args ...any) {
	*m = append(*m, fmt.Errorf(field+": "+format, args...))
}

// validate returns every mistake in a Config that has its defaults, as one error.
func (c *Config) validate() error {
	var m mistakes
	c.checkClient(&m)
	c.checkServer(&m)
	c.checkPaths(&m)
	c.checkStores(&m)
	c.checkModes(&m)
	c.checkOrigins(&m)
	return errors.Join(m...)
}

func (c *Config) checkClient(m *mistakes) {
	for _, f := range []struct{ name, value string }{{"ClientID", c.ClientID}, {"ClientSecret", c.ClientSecret}} {
		if f.value == "" {
			m.add(f.name, "is required")
		} else if !visibleText.MatchString(f.value) {
			m.add(f.name, "has a character outside printable ASCII")
		}
	}
	for _, s := range c.Scopes {
		if !scopeToken.MatchString(s) {
			m.add("Scopes", "%q is not a scope (RFC 6749 section 3.3)", s)
		}
	}
}

func (c *Config) checkServer(m *mistakes) {
	c.checkURL(m, "BaseURL", c.BaseURL)
	for _, f := range []struct{ name, value string }{
		{"Endpoint.AuthURL", c.Endpoint.AuthURL},
		{"Endpoint.TokenURL", c.Endpoint.TokenURL},
		{"Endpoint.MetadataURL", c.Endpoint.MetadataURL},
		{"Endpoint.RevocationURL", c.Endpoint.RevocationURL},
		{"Endpoint.Issuer", c.Endpoint.Issuer},
	} {
		if f.value != "" {
			c.checkURL(m, f.name, f.value)
		}
	}
	if c.Endpoint.IssRequired && c.Endpoint.Issuer == "" {
		m.add("Endpoint.Issuer", "is required with IssRequired")
	}
	if c.RefreshTimeout < time.Second || c.RefreshTimeout > 5*time.Minute {
		m.add("RefreshTimeout", "must be from 1s to 5m, is %s", c.RefreshTimeout)
	}
	if c.HTTPClient != nil && c.HTTPClient.Transport != nil {
		if _, ok := c.HTTPClient.Transport.(*http.Transport); !ok && !musixmatch.SendsOnce(c.HTTPClient.Transport) {
			m.add("HTTPClient", "its Transport is a %T; a transport other than *http.Transport must declare SendsOnce() bool", c.HTTPClient.Transport)
		}
	}
}

func (c *Config) checkPaths(m *mistakes) {
	prefixOK := c.PathPrefix == "" || cleanPath(c.PathPrefix)
	if !prefixOK {
		m.add("PathPrefix", "must be a clean path such as /app, is %q", c.PathPrefix)
	}
	if c.RedirectURL != "" && c.checkURL(m, "RedirectURL", c.RedirectURL) && prefixOK {
		c.checkCallbackPath(m)
	}
	if c.BasePath != "" && !cleanPath(c.BasePath) {
		m.add("BasePath", "must be a clean path such as /auth/musixmatch, is %q", c.BasePath)
	}
	routes := c.site()
	for _, f := range []struct{ name, value string }{{"AfterLogin", c.AfterLogin}, {"AfterLogout", c.AfterLogout}} {
		if _, ok := localPath(f.value); !ok {
			m.add(f.name, "must be a path on this site, is %q", f.value)
		} else if routes.isOwnPath(routes.browserPath(f.value)) {
			m.add(f.name, "%q is a route of this package", f.value)
		}
	}
}

func (c *Config) checkCallbackPath(m *mistakes) {
	callback, ok := c.callbackPath()
	switch {
	case !ok:
		m.add("RedirectURL", "its path must begin with PathPrefix %q", c.PathPrefix)
	case !cleanPath(callback):
		m.add("RedirectURL", "needs a clean path such as /auth/musixmatch/callback, has %q", c.PathPrefix+callback)
	case slices.Contains([]string{"login", "connect", "logout", "disconnect"}, strings.TrimPrefix(callback, c.BasePath+"/")):
		m.add("RedirectURL", "its path %q is the path of another route", callback)
	}
}

func (c *Config) checkStores(m *mistakes) {
	if _, err := seal.New(c.Keys); err != nil {
		*m = append(*m, err)
	}
	if len(c.Keys) == 0 {
		m.add("Keys", "is required when Sessions or Grants is set: other instances, and this one after a restart, must open what is stored")
	}
	s := c.Sessions
	if s.Store == nil || s.Codec == nil || s.Lifetime <= 0 || s.Cookie.Name == "" {
		m.add("Sessions", "needs a Store, a Codec, a Lifetime and a Cookie.Name; see NewSessions")
	}
	if s.IdleTimeout < 0 {
		m.add("Sessions", "IdleTimeout must not be negative")
	}
	if s.Cookie.SameSite == http.SameSiteNoneMode && !s.Cookie.Secure {
		m.add("Sessions", "Cookie.SameSite=None needs Cookie.Secure")
	}
	if s.Cookie.SameSite == http.SameSiteStrictMode && c.AppUser == nil {
		m.add("Sessions", "Cookie.SameSite=Strict hides the session from the first page after a sign-in; use Lax")
	}
	everywhere := s.Cookie.Path == "/" && s.Cookie.Domain == ""
	host := strings.HasPrefix(s.Cookie.Name, session.HostPrefix) && s.Cookie.Secure && s.Cookie.HttpOnly && everywhere
	switch {
	case session.Ours(s) && c.secure() && !host:
		m.add("Sessions", "on https the cookie of a NewSessions manager keeps its __Host- name, Secure, HttpOnly, Path=/ and no Domain")
	case session.Ours(s) && !everywhere:
		m.add("Sessions", "the cookie of a NewSessions manager keeps Path=/ and no Domain: a browser would hide the session, and sign in for ever")
	}
}

func (c *Config) checkModes(m *mistakes) {
	if c.AppUser != nil && c.OnLogin == nil {
		m.add("OnLogin", "is required with AppUser: it links the two accounts")
	}
	if c.OnDisconnect != nil && c.AppUser == nil {
		m.add("OnDisconnect", "needs AppUser: without it OnEvent tells of a disconnect")
	}
	if c.LinkedUser != nil && c.AppUser == nil {
		m.add("LinkedUser", "needs AppUser")
	}
}

func (c *Config) checkOrigins(m *mistakes) {
	for _, list := range []struct {
		name    string
		origins []string
	}{{"TrustedOrigins", c.TrustedOrigins}, {"APIOrigins", c.APIOrigins}} {
		for i, raw := range list.origins {
			field := fmt.Sprintf("%s[%d]", list.name, i)
			if !c.checkURL(m, field, raw) {
				continue
			}
			if u, _ := url.Parse(raw); musixmatch.OriginOf(u) != raw {
				m.add(field, "%q is not an origin such as https://app.example", raw)
			}
		}
	}
}

// checkURL reports whether raw is a URL that this package may use.
func (c *Config) checkURL(m *mistakes, field, raw string) bool {
	if err := musixmatch.CheckURL(raw, c.DangerouslyAllowHTTP); err != nil {
		m.add(field, "%w", err)
		return false
	}
	return true
}

func cleanPath(p string) bool {
	return routePath.MatchString(p) && path.Clean(p) == p
}
