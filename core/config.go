package core

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
)

// Config is everything an application says about its integration. The zero
// value of every field but the first three is a secure default. A Config is
// read once, by [New].
type Config struct {
	// ClientID and ClientSecret are issued by Musixmatch at registration.
	ClientID, ClientSecret string
	// RedirectURL is the callback as registered: absolute and https, or http
	// on a loopback host. It alone decides the public origin; no header does.
	RedirectURL string

	// BaseURL is the authorization server. Grants are keyed by it.
	// Defaults to https://connect.musixmatch.com.
	BaseURL string
	// Endpoint overrides single URLs, and names the issuer; see [Discover].
	// Defaults to the documented paths under BaseURL.
	Endpoint Endpoint
	// Scopes are requested besides "profile" and "email", which always are.
	// Defaults to none.
	Scopes []string

	// Sessions keeps who is signed in. A manager made by [NewSessions] is
	// adjusted to RedirectURL: on http its cookie loses Secure and the prefix.
	// Defaults to NewSessions(NewMemory()).
	Sessions *scs.SessionManager
	// Grants keeps the tokens, and claims on callbacks.
	// Defaults to memory: neither shared between instances nor durable.
	Grants GrantStore
	// Keys seal grants and login attempts: 32 random bytes each. The first
	// seals, all open. A new key goes behind the old ones until all instances
	// have it, and then in front.
	// Required when Sessions or Grants is set. Defaults to one random key per process.
	Keys [][]byte

	// BasePath is where login, logout and disconnect are.
	// Defaults to the directory of RedirectURL's path, where the callback is.
	BasePath string
	// PathPrefix is what a proxy or http.StripPrefix in front strips: part of
	// RedirectURL and of every path sent to a browser, not of the paths the router sees. Defaults to none.
	PathPrefix string
	// AfterLogin and AfterLogout are local paths, below PathPrefix.
	// Both default to "/".
	AfterLogin, AfterLogout string
	// TrustedOrigins are other origins of the same product, such as a
	// single-page application: they may POST to the routes and be returned to.
	// RedirectURL's origin always is trusted. Defaults to none.
	TrustedOrigins []string

	// RefreshTimeout is how long one refresh may take at Musixmatch. It is long
	// on purpose: giving up on a slow server turns a success into a loss.
	// Defaults to 30 s; from 1 s to 5 min.
	RefreshTimeout time.Duration

	// AppUser says who the application itself has signed in, "" for nobody. It
	// switches to connect mode: Musixmatch is connected to that user, and no
	// Musixmatch session is kept. It may be asked several times in one request,
	// and sees the context of whoever asks. Defaults to nil, sign-in mode.
	AppUser func(*http.Request) string
	// LinkedUser returns the Musixmatch user ID that the application has
	// linked to its user, "" for none. It is asked at most once per request,
	// when somebody wants to know. Disconnecting ends the tokens and leaves this
	// link to the application. Connect mode only. Defaults to nil.
	LinkedUser func(ctx context.Context, appUser string) (userID string, err error)
	// OnLogin is called with every verified login before anything is stored.
	// It may run again for the same login, so it must be idempotent.
	// [ErrLoginRefused] refuses; any other error makes the login fail as
	// unavailable. Required in connect mode. Defaults to nil.
	OnLogin func(ctx context.Context, l *Login) error
	// OnEvent sees every [Event], synchronously, so it must not block.
	// Defaults to nil.
	OnEvent func(ctx context.Context, e Event)
	// ErrorHandler renders errors for all adapters; see [WriteError].
	// Defaults to nil: each adapter in its framework's idiom.
	ErrorHandler func(http.ResponseWriter, *http.Request, error)

	// APIOrigins are the exact origins where bearer tokens may be sent, besides
	// the https hosts under musixmatch.com. Defaults to none.
	APIOrigins []string
	// HTTPClient lends its Transport; its other fields are not used. For the
	// token endpoint a *http.Transport is cloned and restricted to one attempt
	// per connection. Any other transport must declare by a method
	// "SendsOnce() bool" that it never sends a request twice, or New refuses it.
	// Proxies of the environment are honoured. Defaults to a transport of its own.
	HTTPClient *http.Client
	// Logger receives one line per event. Defaults to slog.Default().
	Logger *slog.Logger
	// DangerouslyAllowHTTP allows plain http beyond loopback hosts.
	// Defaults to false.
	DangerouslyAllowHTTP bool
}

// Endpoint holds the URLs of an authorization server. Empty fields mean the
// documented paths; there is no documented revocation endpoint.
type Endpoint struct {
	Issuer        string // checked against iss in the authorization response (RFC 9207)
	AuthURL       string
	TokenURL      string
	MetadataURL   string // token-metadata, the introspection endpoint
	RevocationURL string // RFC 7009

	// IssRequired says that every authorization response carries iss.
	IssRequired bool
}

// Login is a verified login, as OnLogin sees it.
type Login struct {
	UserID   string   // the Musixmatch user ID
	AppUser  string   // connect mode: the application's user; else ""
	ReturnTo string   // where the browser goes next
	Scopes   []string // granted
}

const redacted = "[redacted]"

// Format keeps the secrets out of every format verb.
func (c Config) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "core.Config{ClientID:%q ClientSecret:%s RedirectURL:%q BaseURL:%q Keys:%s}",
		c.ClientID, redacted, c.RedirectURL, c.BaseURL, redacted)
}

// LogValue keeps the secrets out of log/slog.
func (c Config) LogValue() slog.Value {
	return slog.StringValue(fmt.Sprint(c))
}

// MarshalText keeps the secrets out of encodings such as JSON.
func (c Config) MarshalText() ([]byte, error) {
	return []byte(fmt.Sprint(c)), nil
}

const (
	defaultBaseURL        = "https://connect.musixmatch.com"
	defaultRefreshTimeout = 30 * time.Second
)

var (
	routePath   = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)+$`)
	scopeToken  = regexp.MustCompile(`^[\x21\x23-\x5b\x5d-\x7e]+$`) // RFC 6749 section 3.3
	visibleText = regexp.MustCompile(`^[\x20-\x7e]+$`)              // RFC 6749 appendix A.1, A.2
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

	if _, err := newKeyring(c.Keys); err != nil {
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
	for _, o := range c.TrustedOrigins {
		c.checkOrigin("TrustedOrigins", o, &errs)
	}
	for _, o := range c.APIOrigins {
		c.checkOrigin("APIOrigins", o, &errs)
	}
	if c.HTTPClient != nil && c.HTTPClient.Transport != nil {
		if _, ok := c.HTTPClient.Transport.(*http.Transport); !ok && !sendsOnce(c.HTTPClient.Transport) {
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
	wrong := func(field, format string, args ...any) {
		*errs = append(*errs, fmt.Errorf(field+": "+format, args...))
	}
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
	if err := checkURL(raw, c.DangerouslyAllowHTTP); err != nil {
		*errs = append(*errs, fmt.Errorf("%s: %w", field, err))
		return false
	}
	return true
}

func (c *Config) checkOrigin(field, raw string, errs *[]error) {
	if !c.checkURL(field, raw, errs) {
		return
	}
	if u, _ := url.Parse(raw); originOf(u) != raw {
		*errs = append(*errs, fmt.Errorf("%s: %q is not an origin such as https://app.example", field, raw))
	}
}

// checkURL accepts https, and http where plain is true or the host is
// loopback, with a host and without userinfo, query or fragment.
func checkURL(raw string, plain bool) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return errors.New("is not a URL")
	case u.Host == "" || u.Hostname() == "" || u.Opaque != "":
		return errors.New("must be an absolute URL")
	case u.User != nil:
		return errors.New("must not hold a user or a password")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(raw, "#"):
		return errors.New("must have no query and no fragment")
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return fmt.Errorf("must be https, is %q", u.Scheme)
	case plain || isLoopback(u.Hostname()):
		return nil
	}
	return errors.New("must be https; plain http is for loopback hosts, or for DangerouslyAllowHTTP")
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// originOf is the origin as a browser writes it in an Origin header.
func originOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	if u.Scheme == "https" {
		host = strings.TrimSuffix(host, ":443")
	} else if u.Scheme == "http" {
		host = strings.TrimSuffix(host, ":80")
	}
	return u.Scheme + "://" + host
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
