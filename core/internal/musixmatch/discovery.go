package musixmatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Discover reads the server's own account of its endpoints: RFC 8414 metadata,
// or else its OpenID configuration. See core.Discover.
func Discover(ctx context.Context, baseURL string, hc *http.Client) (Endpoint, error) {
	base := strings.TrimRight(baseURL, "/")
	if err := CheckURL(base, false); err != nil {
		return Endpoint{}, fmt.Errorf("musixmatch: discover: base URL: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var errs []error
	for _, document := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		endpoint, err := discover(ctx, baseURL, base+document, hc)
		if err == nil {
			return endpoint, nil
		}
		errs = append(errs, fmt.Errorf("musixmatch: discover: %s: %w", document, err))
	}
	return Endpoint{}, errors.Join(errs...)
}

func discover(ctx context.Context, issuer, document string, hc *http.Client) (Endpoint, error) {
	none := Endpoint{}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if hc != nil {
		client.Transport = hc.Transport
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, document, nil)
	if err != nil {
		return none, errors.New("the URL is not valid")
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return none, safeCause(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return none, fmt.Errorf("answered %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxResponse+1))
	if err != nil {
		return none, safeCause(err)
	}
	if len(body) > MaxResponse {
		return none, errors.New("the document is too long")
	}
	var metadata struct {
		Issuer        string `json:"issuer"`
		AuthURL       string `json:"authorization_endpoint"`
		TokenURL      string `json:"token_endpoint"`
		RevocationURL string `json:"revocation_endpoint"`
		IssRequired   bool   `json:"authorization_response_iss_parameter_supported"`
	}
	if json.Unmarshal(body, &metadata) != nil {
		return none, errors.New("the document is not JSON metadata")
	}
	// RFC 8414 section 3.3: what names another issuer must not be used.
	if metadata.Issuer != issuer {
		return none, errors.New("the document names another issuer")
	}
	for name, u := range map[string]string{
		"authorization_endpoint": metadata.AuthURL, "token_endpoint": metadata.TokenURL, "revocation_endpoint": metadata.RevocationURL,
	} {
		if u == "" {
			continue
		}
		if err := CheckURL(u, false); err != nil {
			return none, fmt.Errorf("%s %w", name, err)
		}
		if strings.HasPrefix(issuer, "https:") && !strings.HasPrefix(u, "https:") {
			return none, fmt.Errorf("%s must be https, as the issuer is", name)
		}
	}
	return Endpoint{
		Issuer:        metadata.Issuer,
		AuthURL:       metadata.AuthURL,
		TokenURL:      metadata.TokenURL,
		RevocationURL: metadata.RevocationURL,
		IssRequired:   metadata.IssRequired,
	}, nil
}
