// Package doctor checks a configuration without a user: what can be known before
// anybody signs in.
package doctor

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/mxmconnect/mxmconnect/internal/discovery"
)

// Verdict is what a check comes to.
type Verdict string

// The verdicts. Only Wrong needs to be mended before people can sign in.
const (
	OK      Verdict = "ok"
	Warning Verdict = "warning"
	Unknown Verdict = "unknown"
	Wrong   Verdict = "wrong"
)

// Finding is the result of one check, one line for people. It holds no secret.
type Finding struct {
	Check   string  `json:"check"`
	Verdict Verdict `json:"verdict"`
	Tried   string  `json:"tried"`
	Came    string  `json:"came"`
	Do      string  `json:"do,omitempty"`
}

// doctor is one run. What it cannot use it leaves empty, and its checks are left
// out.
type doctor struct {
	subject
	patience time.Duration // for one answer
	client   *http.Client
	refused  bool // the client ID or the secret was
	findings []Finding
}

func (d *doctor) find(check string, v Verdict, tried, came, do string) {
	d.findings = append(d.findings, Finding{check, v, tried, came, do})
}

// Examine checks the configuration in the environment. It waits for each answer
// as long as patience.
func Examine(ctx context.Context, patience time.Duration) []Finding {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	d := &doctor{patience: patience, client: &http.Client{
		Transport: transport, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	d.readEnvironment()
	if d.cfg.BaseURL != "" && d.checkServer(ctx) && d.cfg.ClientID != "" && d.cfg.ClientSecret != "" && d.checkClient(ctx) {
		d.checkMetadata(ctx)
		if d.cfg.RedirectURL != "" {
			d.checkRedirect(ctx)
		}
	}
	if d.cfg.RedirectURL != "" {
		d.checkCallback(ctx)
	}
	if d.apiURL != "" {
		d.checkAPI(ctx)
	}
	d.checkStore(ctx)
	return d.findings
}

// checkServer reports whether the server answers.
func (d *doctor) checkServer(ctx context.Context) bool {
	tried := "GET " + d.cfg.BaseURL + discovery.Paths[0]
	a, err := discovery.Read(ctx, d.client, d.cfg.BaseURL)
	if err != nil {
		came, do := explain(err)
		d.find("server", Wrong, tried, came, do)
		return false
	}
	switch {
	case a.Status >= 500:
		d.find("server", Wrong, tried, answered(a.Status), "The server, or a proxy in front of it, is not well. Try again later.")
	case a.Status >= 300 && a.Status < 400:
		d.find("server", Warning, tried, answered(a.Status), "It redirects; a client does not follow. MXM_BASE_URL may have a wrong host or scheme.")
	default:
		d.find("server", OK, tried, answered(a.Status), "")
	}
	d.checkClock(a)
	d.checkDocument(a.Document)
	return true
}

const farOff = time.Minute // of a clock

func (d *doctor) checkClock(a discovery.Answer) {
	const tried = "the server's Date against this machine's clock"
	if a.Date.IsZero() {
		d.find("clock", Unknown, tried, "the server sends no Date", "")
		return
	}
	// Date has no fraction of a second.
	off := a.Received.Sub(a.Date).Truncate(time.Second)
	if off.Abs() <= farOff {
		d.find("clock", OK, tried, "they agree to within "+max(off.Abs(), time.Second).String(), "")
		return
	}
	word := " ahead of it"
	if off < 0 {
		word = " behind it"
	}
	d.find("clock", Wrong, tried, "this machine is "+off.Abs().String()+word, "Synchronize this machine's clock (NTP), unless it is the server's that is wrong.")
}

// checkDocument holds the discovery document against the configuration, which uses
// the documented paths.
func (d *doctor) checkDocument(doc *discovery.Document) {
	const tried = "the discovery document against the configuration"
	if doc == nil {
		d.find("discovery", Unknown, tried, "the server has none", "The documented paths below MXM_BASE_URL are used.")
		return
	}
	base := d.cfg.BaseURL
	switch {
	case doc.Issuer != base:
		d.find("discovery", Wrong, tried, "it names the issuer "+doc.Issuer, "Set MXM_BASE_URL to exactly that if it is the server you mean; core.Discover refuses another.")
	case doc.TokenEndpoint != "" && doc.TokenEndpoint != base+tokenPath:
		d.find("discovery", Wrong, tried, "it names the token endpoint "+doc.TokenEndpoint, useDiscover)
	case doc.AuthorizationEndpoint != "" && doc.AuthorizationEndpoint != base+authorizePath:
		d.find("discovery", Wrong, tried, "it names the authorization endpoint "+doc.AuthorizationEndpoint, useDiscover)
	case len(doc.TokenAuthMethods) > 0 && !slices.Contains(doc.TokenAuthMethods, "client_secret_post"):
		d.find("discovery", Wrong, tried, "the token endpoint takes no client_secret in the body", "Register the client with client_secret_post.")
	case doc.IssParameter:
		d.find("discovery", OK, tried, "they agree; the server announces iss", "Set Config.Endpoint to what core.Discover returns, so that iss is checked.")
	default:
		d.find("discovery", OK, tried, "they agree", "")
	}
}

const (
	authorizePath = "/oauth/authorize"
	tokenPath     = "/oauth/token"
	metadataPath  = "/oauth/token-metadata"

	useDiscover = "Set Config.Endpoint to what core.Discover returns, or MXM_BASE_URL to another server."
)
