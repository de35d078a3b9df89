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

// Config configures [New]. ClientID and ClientSecret are required, and RedirectURL
// wherever people sign in; the zero value of every other field is a secure default. New reads it once.
type Config struct {
	// ClientID and ClientSecret are issued by Musixmatch at registration.
	ClientID, ClientSecret string
	// RedirectURL is the callback as registered: absolute and https, or http
	// on a loopback host. It alone decides the public origin; no header does.
	// A worker, which uses only clients, needs none.
	RedirectURL string

	// BaseURL is the authorization server. Grants are keyed by it.
	// Defaults to https://connect.musixmatch.com.
	BaseURL string
	// Endpoint overrides single URLs, and names the issuer; see [Discover].
	// Defaults to the documented paths under BaseURL.
	Endpoint Endpoint
	// Scopes are requested besides "profile" and "email", which always are:
	// Musixmatch insists on them. It documents no endpoint that tells the name or
	// the e-mail address, so [Login] has neither.
	// Defaults to none.
	Scopes []string

	// Sessions keeps who is signed in. New adjusts a manager made by
	// [NewSessions] to RedirectURL: on http its cookie loses Secure and the prefix.
	// Defaults to NewSessions(NewMemory()).
	Sessions *scs.SessionManager
	// Grants keeps the tokens, and claims on callbacks.
	// Defaults to memory: neither shared between instances nor durable.
	Grants GrantStore
	// Keys seal grants and login attempts. Each is 32 random bytes. The first
	// key seals, all keys open. To rotate, add a new key at the end, wait until
	// all instances have it, and then move it to the front.
	// Required when Sessions or Grants is set. Defaults to one random key per process.
	Keys [][]byte

	// BasePath is the path below which login, logout and disconnect are.
	// Defaults to the directory of RedirectURL's path.
	BasePath string
	// PathPrefix is the part of the path that a proxy or http.StripPrefix
	// removes before the router. RedirectURL and every path sent to a browser
	// have it; the paths that the router sees do not. Defaults to none.
	PathPrefix string
	// AfterLogin and AfterLogout are where a browser goes next: paths on this
	// site, without PathPrefix, and no routes of this package.
	// Both default to "/".
	AfterLogin, AfterLogout string
	// TrustedOrigins are other origins of the same product, such as a
	// single-page application. They may POST to the routes and be returned to.
	// RedirectURL's origin is always trusted. Defaults to none.
	TrustedOrigins []string

	// RefreshTimeout is how long one refresh may take at Musixmatch. The default
	// is long on purpose: giving up on a slow server turns a success into a loss.
	// Defaults to 30 s; from 1 s to 5 min.
	RefreshTimeout time.Duration

	// AppUser returns the user whom the application itself has signed in, or
	// "". It switches to connect mode: Musixmatch is connected to that user, and
	// no Musixmatch session is kept. It may be called several times in one
	// request, with the context of whoever asks. In that context UserID is "",
	// because nobody can say yet.
	//
	// A connection is as safe as the application's own cookie. Who can set that
	// cookie in another person's browser can have that person's Musixmatch account
	// connected to their own account. On https give it a name that begins with
	// __Host-, Secure, HttpOnly, SameSite=Lax, Path=/ and no Domain.
	//
	// Defaults to nil, sign-in mode.
	AppUser func(*http.Request) string
	// LinkedUser returns the Musixmatch user ID that the application has linked
	// to its user, or "". It is called when somebody asks, and its answer holds
	// for the rest of the request; goroutines of one request that ask at the same
	// moment may each call it. In ctx, too, UserID is "". Disconnecting ends the
	// tokens; the application keeps or ends the link itself.
	// Connect mode only. Defaults to nil.
	LinkedUser func(ctx context.Context, appUser string) (userID string, err error)
	// OnLogin is called with every verified login before anything is stored.
	// It may run again for the same login, so it must be idempotent.
	// [ErrLoginRefused] refuses the login; any other error, or a panic, makes it
	// fail as unavailable. Required in connect mode. Defaults to nil.
	OnLogin func(ctx context.Context, l *Login) error
	// OnEvent is called with every [Event]. Most calls are synchronous, so it
	// must not block. It is called concurrently. Defaults to nil.
	OnEvent func(ctx context.Context, e Event)
	// OnGrantStatus is called at least once after a grant was lost, and at least once
	// after it is back, so that an application can ask a user to connect again, and
	// take that back. It is called a while after the loss (three times RefreshTimeout,
	// when no late answer can end it any more), has 30 s, must return when its context
	// is done, and may be called by eight goroutines at once. nil acknowledges; after
	// an error, a panic or a crash a later sweep of [Auth.Maintain] calls it again, so
	// run that on an instance that has OnGrantStatus. Defaults to nil.
	OnGrantStatus func(ctx context.Context, g GrantInfo) error
	// OnDisconnect is called by the disconnect route when the user's grant has ended, so
	// that the application can end its link. After an error the answer is 503, and the
	// user's next attempt runs both again. Connect mode only. Defaults to nil.
	OnDisconnect func(ctx context.Context, appUser, userID string) error
	// ErrorHandler renders errors for all adapters; see [WriteError].
	// Defaults to nil: each adapter renders them in its framework's idiom.
	ErrorHandler func(http.ResponseWriter, *http.Request, error)

	// APIOrigins are the exact origins where bearer tokens may be sent, besides
	// the https hosts under musixmatch.com. Defaults to none.
	APIOrigins []string
	// HTTPClient provides its Transport; its other fields are not used. For the
	// token endpoint New clones a *http.Transport and restricts it to one attempt
	// per connection. Any other transport must declare, by a method
	// "SendsOnce() bool", that it never sends a request twice; otherwise New
	// refuses it. Proxies of the environment are honoured.
	// Defaults to a transport of its own.
	HTTPClient *http.Client
	// Logger receives one line per event. Defaults to slog.Default().
	Logger *slog.Logger
	// DangerouslyAllowHTTP allows plain http beyond loopback hosts.
	// Defaults to false.
	DangerouslyAllowHTTP bool
}

// Endpoint holds the URLs of an authorization server. An empty field means the
// documented path. There is no documented revocation endpoint.
type Endpoint struct {
	Issuer        string // checked against iss in the authorization response (RFC 9207)
	AuthURL       string
	TokenURL      string
	MetadataURL   string // token-metadata, the introspection endpoint
	RevocationURL string // RFC 7009

	// IssRequired says that every authorization response carries iss.
	IssRequired bool
}

// Login is a verified login, as Config.OnLogin receives it.
type Login struct {
	UserID  string // the Musixmatch user ID
	AppUser string // connect mode: the application's user; else ""
	// ReturnTo is where the browser goes next. OnLogin may change it, to a path
	// on this site or a URL on a trusted origin; anything else becomes
	// Config.AfterLogin.
	ReturnTo string
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
