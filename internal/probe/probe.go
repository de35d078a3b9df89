// Package probe measures what the documentation of an authorization server leaves
// open, with a user who signs in a few times. It spends and ends that user's tokens.
package probe

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/internal/discovery"
)

// Options say what to measure, and as whom.
type Options struct {
	BaseURL, ClientID, ClientSecret, RedirectURL string
	Scopes                                       []string // besides profile and email
	AuthURL, TokenURL, MetadataURL               string   // if neither documented nor discovered
	APIURL                                       string   // a GET that wants a user's token; may be empty
	Transport                                    *http.Transport

	SignIn   SignIn
	Progress func(text string)
	Patience time.Duration // how late token-metadata may be

	// What costs time or many calls is measured on request only.
	Grace time.Duration // how long a grace period may be; 0: not measured
	Codes time.Duration // how long a code may live; 0: not measured
	Rate  bool          // up to 20 calls in a row
}

// SignIns is the largest number of sign-ins that Run asks for.
func (o Options) SignIns() int {
	n := 5
	if o.Grace > 0 {
		n++
	}
	if o.Codes > 0 {
		n += codeSteps
	}
	return n
}

// probe is one run.
type probe struct {
	Options
	server
	report Report
	spare  []*tokens // of logins that may live
	signed int

	graced, rotates, killsNone bool
	singleLogin                bool
}

// Run measures. A report is returned with an error, too: what is known until then.
func Run(ctx context.Context, o Options) (*Report, error) {
	p := &probe{Options: o}
	p.transport = o.Transport
	p.client = &http.Client{Transport: o.Transport, Timeout: callTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	p.clientID, p.clientSecret, p.apiURL = o.ClientID, o.ClientSecret, o.APIURL
	p.scope = strings.Join(append([]string{"profile", "email"}, o.Scopes...), " ")
	p.report.options = o
	err := p.run(ctx)
	p.report.scopes = strings.Fields(p.scope)[2:]
	return &p.report, err
}

func (p *probe) run(ctx context.Context) error {
	if err := p.discover(ctx); err != nil {
		return fmt.Errorf("the server does not answer: %w", err)
	}
	if err := p.checkClient(ctx); err != nil {
		return err
	}
	first, err := p.firstLogin(ctx)
	if err != nil {
		return err
	}
	if err := p.readMetadata(ctx, first); err != nil {
		return err
	}
	if first.refresh == "" {
		return errors.New("the server issues no refresh token, so there is nothing more to measure; it may want a scope for that (-scope offline_access)")
	}
	for _, step := range []struct {
		says string
		do   func(context.Context) error
	}{
		{"a second login, and what a refresh ends", func(ctx context.Context) error { return p.measureKill(ctx, first) }},
		{"a replay of a spent refresh token", p.measureReplay},
		{"two refreshes at once", p.measureRace},
		{"a refresh that is cut off", p.measureCut},
		{"revocation", p.measureRevocation},
		{"how long the grace period is", p.measureGrace},
		{"how long codes live", p.measureCodes},
		{"whether token-metadata limits calls", p.measureRate},
	} {
		p.Progress("Measuring " + step.says + ".")
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("measuring %s: %w", step.says, err)
		}
	}
	return nil
}

// discover finds the endpoints: those of the options, of the discovery document,
// and else the documented ones.
func (p *probe) discover(ctx context.Context) error {
	a, err := discovery.Read(ctx, p.client, p.BaseURL)
	if err != nil {
		return cause(err)
	}
	doc := a.Document
	if doc == nil {
		doc = &discovery.Document{}
		p.report.note("The server has no discovery document; the documented paths are used.")
	}
	p.doc = doc
	p.authURL = cmp.Or(p.AuthURL, doc.AuthorizationEndpoint, p.BaseURL+"/oauth/authorize")
	p.tokenURL = cmp.Or(p.TokenURL, doc.TokenEndpoint, p.BaseURL+"/oauth/token")
	p.revocationURL = doc.RevocationEndpoint
	p.metadataURLs = []string{p.MetadataURL}
	if p.MetadataURL == "" {
		p.metadataURLs = []string{p.BaseURL + "/oauth/token-metadata"}
		if doc.IntrospectionEndpoint != "" {
			p.metadataURLs = append(p.metadataURLs, doc.IntrospectionEndpoint)
		}
	}
	p.apiURL = cmp.Or(p.apiURL, doc.UserinfoEndpoint)
	p.report.endpoints(p)
	return nil
}

// checkClient stops before anybody signs in if the client ID or the secret is wrong.
func (p *probe) checkClient(ctx context.Context) error {
	_, err := p.token(ctx, url.Values{"grant_type": {"client_credentials"}})
	var r *refusal
	if errors.As(err, &r) && (r.code == "invalid_client" || r.status == http.StatusUnauthorized) {
		return errors.New("client ID and secret are refused; mxm doctor says more")
	}
	if err != nil && r == nil {
		return fmt.Errorf("the token endpoint does not answer: %w", err)
	}
	return nil
}

// firstLogin signs in, if need be once more with a scope that other servers want
// before they issue a refresh token.
func (p *probe) firstLogin(ctx context.Context) (*tokens, error) {
	t, err := p.signIn(ctx)
	if err != nil {
		return nil, err
	}
	if t.refresh == "" && slices.Contains(p.doc.Scopes, "offline_access") && !slices.Contains(strings.Fields(p.scope), "offline_access") {
		p.Progress("The server issues no refresh token. Trying with the scope offline_access, which it lists.")
		p.scope += " offline_access"
		if slices.Contains(p.doc.Scopes, "openid") {
			p.scope += " openid"
		}
		if t, err = p.signIn(ctx); err != nil {
			return nil, err
		}
	}
	p.report.find("lifetime", lifetimeAnswer(t.lifetime), measured, verdict(t.lifetime > 0))
	if t.lifetime > 0 {
		p.report.Profile.AccessLifetime = duration(t.lifetime)
	}
	p.report.Profile.NoExpiresIn = new(t.lifetime == 0)
	p.report.lifetime = t.lifetime

	p.report.Profile.NoDate = new(p.noDate)
	switch {
	case p.noDate:
		p.report.find("date", "no", measured, refuted)
	case p.skew.Abs() > 2*time.Second:
		p.report.find("date", "yes, "+p.skew.String()+" from this machine's clock", measured, verdict(p.skew.Abs() < time.Minute))
		p.report.Profile.DateSkew = duration(p.skew)
	default:
		p.report.find("date", "yes, and it agrees with this machine's clock", measured, confirmed)
	}
	if p.inHeader {
		p.report.note("The token endpoint takes the client's secret in the Authorization header only. Package core sends it in the body, as is" +
			" documented: register the client with client_secret_post.")
	}
	return t, nil
}

func lifetimeAnswer(d time.Duration) string {
	if d == 0 {
		return "it does not say"
	}
	return d.String()
}

// signIn has the user sign in, and exchanges the code.
func (p *probe) signIn(ctx context.Context) (*tokens, error) {
	arrival, verifier, err := p.code(ctx)
	if err != nil {
		return nil, err
	}
	return p.exchange(ctx, arrival, verifier)
}

func (p *probe) exchange(ctx context.Context, a Arrival, verifier string) (*tokens, error) {
	t, err := p.token(ctx, url.Values{
		"grant_type": {"authorization_code"}, "code": {a.Query.Get("code")}, "redirect_uri": {p.RedirectURL}, "code_verifier": {verifier},
	})
	if err != nil {
		return nil, fmt.Errorf("the code is not exchanged: %w", err)
	}
	return t, nil
}

// code has the user sign in.
func (p *probe) code(ctx context.Context) (Arrival, string, error) {
	p.signed++
	p.Progress(fmt.Sprintf("Sign-in %d of at most %d.", p.signed, p.SignIns()))
	state, verifier := rand.Text(), oauth2.GenerateVerifier()
	join := "?"
	if strings.Contains(p.authURL, "?") {
		join = "&"
	}
	a, err := p.SignIn(ctx, p.authURL+join+url.Values{
		"response_type": {"code"}, "client_id": {p.ClientID}, "redirect_uri": {p.RedirectURL}, "scope": {p.scope}, "state": {state},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(verifier)}, "code_challenge_method": {"S256"},
	}.Encode())
	q := a.Query
	switch {
	case err != nil:
		return a, "", err
	case q.Get("state") != state:
		return a, "", errors.New("what arrived belongs to another sign-in")
	case q.Get("code") == "":
		return a, "", fmt.Errorf("the sign-in is refused: %s", cmp.Or(known(q.Get("error")), "no code, and no error that is known"))
	}
	if p.report.Profile.Issuer == nil {
		p.noteIssuer(q.Get("iss"))
	}
	return a, verifier, nil
}

func (p *probe) noteIssuer(iss string) {
	p.report.Profile.Issuer = new(iss != "")
	switch {
	case iss == "" && p.doc.IssParameter:
		p.report.find("issuer", "no, though the discovery document announces it", measured, confirmed)
	case iss == "":
		p.report.find("issuer", "no", measured, confirmed)
	case iss == p.doc.Issuer:
		p.report.find("issuer", "yes, the issuer of the discovery document", measured, refuted)
	default:
		p.report.find("issuer", "yes, but not the issuer of the discovery document", measured, refuted)
		p.report.note("iss does not equal the issuer of the discovery document, so sign-ins would be refused with Endpoint.Issuer set. Ask the server's operator.")
		p.report.issuerDiffers = true
	}
}

// living returns a login with a fresh pair.
func (p *probe) living(ctx context.Context) (*tokens, error) {
	for len(p.spare) > 0 {
		last := p.spare[len(p.spare)-1]
		p.spare = p.spare[:len(p.spare)-1]
		t, err := p.refreshed(ctx, last)
		if err == nil {
			return t, nil
		}
		if !refusedToken(err) {
			return nil, err
		}
	}
	return p.signIn(ctx)
}

// refreshed is a refresh that keeps the old refresh token if there is no new one.
func (p *probe) refreshed(ctx context.Context, t *tokens) (*tokens, error) {
	n, err := p.refresh(ctx, t.refresh)
	if err == nil && n.refresh == "" {
		n.refresh = t.refresh
	}
	return n, err
}

func duration(d time.Duration) *mxmtest.Duration { return new(mxmtest.Duration(d)) }
