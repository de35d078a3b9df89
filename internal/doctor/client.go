package doctor

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/oauth2"
)

const maxAnswer = 64 << 10 // bytes that are read of an answer

// reply is what came, as far as it can be shown to people.
type reply struct {
	status   int
	location *url.URL
	code     string // of an OAuth error, if it is a known one
	json     bool
	active   *bool // of token-metadata
	token    bool  // it holds an access token
}

func (r reply) String() string {
	switch {
	case r.code != "":
		return answered(r.status) + " " + r.code
	case r.location != nil:
		return answered(r.status) + " to " + r.location.Host + r.location.Path
	case !r.json:
		return answered(r.status) + ", and not with JSON"
	}
	return answered(r.status)
}

func answered(status int) string { return fmt.Sprintf("it answered %d", status) }

// RFC 6749 sections 4.1.2.1 and 5.2, and OpenID Connect Core section 3.1.2.6. What
// else a server sends is not shown.
var errorCodes = []string{
	"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope",
	"access_denied", "unsupported_response_type", "server_error", "temporarily_unavailable",
	"interaction_required", "login_required", "consent_required", "account_selection_required",
}

func known(code string) string {
	if slices.Contains(errorCodes, code) {
		return code
	}
	return ""
}

func (d *doctor) ask(req *http.Request) (reply, error) {
	resp, err := d.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	r := reply{status: resp.StatusCode}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return reply{}, err
	}
	if location, err := resp.Location(); err == nil {
		r.location, r.code = location, known(location.Query().Get("error"))
		return r, nil
	}
	var answer struct {
		Error  any
		Active *bool
		Token  string `json:"access_token"`
	}
	r.json = json.Unmarshal(body, &answer) == nil
	code, _ := answer.Error.(string)
	r.code, r.active, r.token = known(code), answer.Active, answer.Token != ""
	return r, nil
}

func (d *doctor) post(ctx context.Context, path string, form url.Values, edit ...func(*http.Request)) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.cfg.BaseURL+path, strings.NewReader(form.Encode()))
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, e := range edit {
		e(req)
	}
	return d.ask(req)
}

// checkClient asks for a client-credentials token: whatever is said of the grant,
// the credentials are looked at first. It reports whether there is a token endpoint.
func (d *doctor) checkClient(ctx context.Context) bool {
	tried := "POST " + d.cfg.BaseURL + tokenPath + " for client credentials"
	form := url.Values{"grant_type": {"client_credentials"}}
	inBody := url.Values{"grant_type": {"client_credentials"}, "client_id": {d.cfg.ClientID}, "client_secret": {d.cfg.ClientSecret}}
	r, err := d.post(ctx, tokenPath, inBody)
	if err != nil {
		came, do := explain(err)
		d.find("secret", Unknown, tried, came, do)
		return false
	}
	const goodSecret = "client ID and secret are right"
	switch {
	case r.token:
		d.find("secret", OK, tried, r.String()+": "+goodSecret, "")
	case slices.Contains([]string{"unauthorized_client", "unsupported_grant_type", "invalid_scope"}, r.code):
		d.find("secret", OK, tried, r.String()+": "+goodSecret+", but they are for users only", "")
	case r.code == "invalid_client" || r.status == http.StatusUnauthorized:
		basic, err := d.post(ctx, tokenPath, form, func(req *http.Request) {
			req.SetBasicAuth(url.QueryEscape(d.cfg.ClientID), url.QueryEscape(d.cfg.ClientSecret))
		})
		if err == nil && (basic.token || basic.code != "invalid_client" && basic.code != "" && basic.status != http.StatusUnauthorized) {
			d.find("secret", Wrong, tried, r.String()+", but takes them in the Authorization header", "Register the client with client_secret_post.")
			return true
		}
		d.refused = true
		d.find("secret", Wrong, tried, r.String(), "Check MXM_CLIENT_ID and MXM_CLIENT_SECRET, and that they belong to this server.")
	case r.status == http.StatusNotFound || r.status == http.StatusMethodNotAllowed || !r.json && r.status < 500:
		d.find("secret", Wrong, tried, r.String(), "This is no token endpoint. Check MXM_BASE_URL: the server's origin, without a path.")
		return false
	default:
		d.find("secret", Unknown, tried, r.String(), "Try again later; the server said nothing of the client.")
	}
	return true
}

// checkMetadata asks about a token that nobody has issued.
func (d *doctor) checkMetadata(ctx context.Context) {
	tried := "POST " + d.cfg.BaseURL + metadataPath + " for a made-up token"
	r, err := d.post(ctx, metadataPath, url.Values{"accessToken": {rand.Text()}})
	switch {
	case err != nil:
		came, do := explain(err)
		d.find("token-metadata", Unknown, tried, came, do)
	case r.active != nil && !*r.active:
		d.find("token-metadata", OK, tried, "it is not active", "")
	case r.status == http.StatusUnauthorized || r.code == "invalid_client":
		d.find("token-metadata", Wrong, tried, r.String()+": it wants client authentication", "None is documented, and package core sends none. Ask Musixmatch.")
	case r.status == http.StatusNotFound:
		d.find("token-metadata", Wrong, tried, r.String(), "Without it nobody can sign in: it says who a user is. Set Config.Endpoint.MetadataURL.")
	default:
		d.find("token-metadata", Unknown, tried, r.String(), "")
	}
}

// checkRedirect begins a sign-in that nobody ends. A second one, with a redirect
// URL that cannot be registered, shows how the server refuses.
func (d *doctor) checkRedirect(ctx context.Context) {
	tried := "GET " + d.cfg.BaseURL + authorizePath + " with " + d.cfg.RedirectURL
	r, err := d.authorize(ctx, d.cfg.RedirectURL)
	if err != nil {
		came, do := explain(err)
		d.find("redirect URL", Unknown, tried, came, do)
		return
	}
	back := r.location != nil && strings.HasPrefix(r.location.String(), d.cfg.RedirectURL)
	switch {
	case back && r.code == "invalid_scope":
		d.find("redirect URL", Wrong, tried, r.String(), "It is registered, but the client may not ask for the scope profile email.")
	case back && slices.Contains([]string{"unauthorized_client", "unsupported_response_type", "invalid_request"}, r.code):
		d.find("redirect URL", Wrong, tried, r.String(), "It is registered, but the client may not sign users in. Ask Musixmatch.")
	case back:
		d.find("redirect URL", OK, tried, "it is registered: the server sends the browser back", "")
	case r.refused() && d.refused:
		d.find("redirect URL", Unknown, tried, r.String()+", as it may to an unknown client ID", "Set client ID and secret right first.")
	case r.refused():
		d.find("redirect URL", Wrong, tried, r.String(), "Register exactly this URL, or set MXM_REDIRECT_URL to the registered one; the client ID may be unknown, too.")
	default:
		other, err := d.authorize(ctx, "https://unregistered.invalid/callback")
		if err == nil && other.refused() {
			d.find("redirect URL", OK, tried, "it is registered: the server shows its sign-in, and refuses another redirect URL", "")
			return
		}
		d.find("redirect URL", Unknown, tried, r.String()+", as with any redirect URL", "Sign in once to know.")
	}
}

func (r reply) refused() bool {
	return r.status >= 400 && r.status < 500 || r.location != nil && r.location.Query().Has("error")
}

func (d *doctor) authorize(ctx context.Context, redirectURL string) (reply, error) {
	query := url.Values{
		"response_type": {"code"}, "client_id": {d.cfg.ClientID}, "redirect_uri": {redirectURL}, "scope": {"profile email"},
		"state": {rand.Text()}, "code_challenge": {oauth2.S256ChallengeFromVerifier(oauth2.GenerateVerifier())}, "code_challenge_method": {"S256"},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.cfg.BaseURL+authorizePath+"?"+query.Encode(), nil)
	if err != nil {
		return reply{}, err
	}
	req.Header.Set("Accept", "text/html")
	return d.ask(req)
}
