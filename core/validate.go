package core

import (
	"cmp"
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
)

// validate fills in the defaults and joins every mistake into one error.
func (c *Config) validate() error {
	var errs []error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf(field+": "+format, args...))
	}

	for _, f := range []struct{ name, value string }{{"ClientID", c.ClientID}, {"ClientSecret", c.ClientSecret}} {
		if f.value == "" {
			wrong(f.name, "is required")
		} else if !visibleText.MatchString(f.value) {
			wrong(f.name, "has a character outside printable ASCII")
		}
	}

	c.BaseURL = strings.TrimRight(cmp.Or(c.BaseURL, defaultBaseURL), "/")
	baseOK := c.checkURL("BaseURL", c.BaseURL, &errs)
	documented := func(p string) string { return c.BaseURL + p }
	for _, f := range []struct {
		name  string
		value *string
		path  string
	}{
		{"Endpoint.AuthURL", &c.Endpoint.AuthURL, "/oauth/authorize"},
		{"Endpoint.TokenURL", &c.Endpoint.TokenURL, "/oauth/token"},
		{"Endpoint.MetadataURL", &c.Endpoint.MetadataURL, "/oauth/token-metadata"},
		{"Endpoint.RevocationURL", &c.Endpoint.RevocationURL, ""},
		{"Endpoint.Issuer", &c.Endpoint.Issuer, ""},
	} {
		if *f.value != "" {
			c.checkURL(f.name, *f.value, &errs)
		} else if f.path != "" && baseOK {
			*f.value = documented(f.path)
		}
	}
	if c.Endpoint.IssRequired && c.Endpoint.Issuer == "" {
		wrong("Endpoint.Issuer", "is required with IssRequired")
	}

	scopes := []string{"profile", "email"}
	for _, s := range c.Scopes {
		if !scopeToken.MatchString(s) {
			wrong("Scopes", "%q is not a scope (RFC 6749 section 3.3)", s)
		} else if !slices.Contains(scopes, s) {
			scopes = append(scopes, s)
		}
	}
	c.Scopes = scopes

	if _, err := seal.New(c.Keys); err != nil {
		errs = append(errs, err)
	}
	c.checkPaths(&errs)
	c.checkSessions(&errs)

	switch {
	case c.RefreshTimeout == 0:
		c.RefreshTimeout = defaultRefreshTimeout
	case c.RefreshTimeout < time.Second || c.RefreshTimeout > 5*time.Minute:
		wrong("RefreshTimeout", "must be from 1s to 5m, is %s", c.RefreshTimeout)
	}

	if c.AppUser != nil && c.OnLogin == nil {
		wrong("OnLogin", "is required with AppUser: it links the two accounts")
	}
	if c.LinkedUser != nil && c.AppUser == nil {
		wrong("LinkedUser", "needs AppUser")
	}
	for i, o := range c.TrustedOrigins {
		c.checkOrigin(fmt.Sprintf("TrustedOrigins[%d]", i), o, &errs)
	}
	for i, o := range c.APIOrigins {
		c.checkOrigin(fmt.Sprintf("APIOrigins[%d]", i), o, &errs)
	}
	if c.HTTPClient != nil && c.HTTPClient.Transport != nil {
		if _, ok := c.HTTPClient.Transport.(*http.Transport); !ok && !musixmatch.SendsOnce(c.HTTPClient.Transport) {
			wrong("HTTPClient", "its Transport is a %T; one that is not a *http.Transport must declare SendsOnce() bool", c.HTTPClient.Transport)
		}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return errors.Join(errs...)
}

func (c *Config) checkPaths(errs *[]error) {
	wrong := func(field, format string, args ...any) {
		*errs = append(*errs, fmt.Errorf(field+": "+format, args...))
	}
	if c.PathPrefix != "" && !cleanPath(c.PathPrefix) {
		wrong("PathPrefix", "must be a clean path such as /app, is %q", c.PathPrefix)
		c.PathPrefix = ""
	}
	if c.RedirectURL == "" {
		wrong("RedirectURL", "is required")
	} else if c.checkURL("RedirectURL", c.RedirectURL, errs) {
		u, _ := url.Parse(c.RedirectURL)
		p, below := strings.CutPrefix(u.Path, c.PathPrefix)
		switch {
		case !below:
			wrong("RedirectURL", "its path must begin with PathPrefix %q", c.PathPrefix)
		case !cleanPath(p):
			wrong("RedirectURL", "needs a clean path such as /auth/musixmatch/callback, has %q", u.Path)
		default:
			if c.BasePath == "" {
				c.BasePath = strings.TrimSuffix(path.Dir(p), "/")
			}
			if slices.Contains([]string{"login", "connect", "logout", "disconnect"}, strings.TrimPrefix(p, c.BasePath+"/")) {
				wrong("RedirectURL", "its path %q is the path of another route", p)
			}
		}
	}
	if c.BasePath != "" && !cleanPath(c.BasePath) {
		wrong("BasePath", "must be a clean path such as /auth/musixmatch, is %q", c.BasePath)
	}
	for _, f := range []struct {
		name  string
		value *string
	}{{"AfterLogin", &c.AfterLogin}, {"AfterLogout", &c.AfterLogout}} {
		*f.value = cmp.Or(*f.value, "/")
		if _, ok := localPath(*f.value); !ok {
			wrong(f.name, "must be a path on this site, is %q", *f.value)
		}
	}
}

func (c *Config) checkSessions(errs *[]error) {
	wrong := func(field, text string) { *errs = append(*errs, errors.New(field+": "+text)) }
	if len(c.Keys) == 0 && (c.Sessions != nil || c.Grants != nil) {
		wrong("Keys", "is required when Sessions or Grants is set: other instances, and this one after a restart, must open what is stored")
	}
	s := c.Sessions
	if s == nil {
		return
	}
	if s.Store == nil || s.Codec == nil || s.Lifetime <= 0 || s.Cookie.Name == "" {
		wrong("Sessions", "needs a Store, a Codec, a Lifetime and a Cookie.Name; see NewSessions")
	}
	if s.IdleTimeout < 0 {
		wrong("Sessions", "IdleTimeout must not be negative")
	}
	if s.Cookie.SameSite == http.SameSiteNoneMode && !s.Cookie.Secure {
		wrong("Sessions", "Cookie.SameSite=None needs Cookie.Secure")
	}
	if s.Cookie.SameSite == http.SameSiteStrictMode && c.AppUser == nil {
		wrong("Sessions", "Cookie.SameSite=Strict hides the session from the first page after a sign-in; use Lax")
	}
	https := strings.HasPrefix(c.RedirectURL, "https://")
	if ours(s) && https && (!strings.HasPrefix(s.Cookie.Name, "__Host-") || !s.Cookie.Secure || s.Cookie.Path != "/" || s.Cookie.Domain != "") {
		wrong("Sessions", "on https the cookie of a NewSessions manager keeps its __Host- name, Secure, Path=/ and no Domain")
	}
}

// checkURL reports whether raw is an absolute URL fit for what field names.
func (c *Config) checkURL(field, raw string, errs *[]error) bool {
	if err := musixmatch.CheckURL(raw, c.DangerouslyAllowHTTP); err != nil {
		*errs = append(*errs, fmt.Errorf("%s: %w", field, err))
		return false
	}
	return true
}

func (c *Config) checkOrigin(field, raw string, errs *[]error) {
	if !c.checkURL(field, raw, errs) {
		return
	}
	if u, _ := url.Parse(raw); musixmatch.OriginOf(u) != raw {
		*errs = append(*errs, fmt.Errorf("%s: %q is not an origin such as https://app.example", field, raw))
	}
}

func cleanPath(p string) bool {
	return routePath.MatchString(p) && path.Clean(p) == p
}

// within reports whether target, a path with an optional query, is base or
// below it once a router has decoded and cleaned it.
func within(target, base string) bool {
	u, err := url.Parse(target)
	if err != nil {
		return false
	}
	p := path.Clean(u.Path)
	return p == base || strings.HasPrefix(p, base+"/")
}
