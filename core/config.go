package core

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
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
	// OnEvent sees every [Event], synchronously as a rule, so it must not block.
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
