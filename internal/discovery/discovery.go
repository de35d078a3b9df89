// Package discovery reads what an authorization server says about itself, for
// people: more of it than core.Discover needs, and without judging it.
package discovery

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const maxDocument = 1 << 20 // bytes

// Paths of RFC 8414 and of OpenID Connect Discovery, below the issuer.
var Paths = []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"}

// Document is a discovery document.
type Document struct {
	Path                  string   `json:"-"`
	Issuer                string   `json:"issuer"`
	AuthorizationEndpoint string   `json:"authorization_endpoint"`
	TokenEndpoint         string   `json:"token_endpoint"`
	IntrospectionEndpoint string   `json:"introspection_endpoint"`
	RevocationEndpoint    string   `json:"revocation_endpoint"`
	UserinfoEndpoint      string   `json:"userinfo_endpoint"`
	Scopes                []string `json:"scopes_supported"`
	TokenAuthMethods      []string `json:"token_endpoint_auth_methods_supported"`
	IssParameter          bool     `json:"authorization_response_iss_parameter_supported"`
}

// Answer is what came of an attempt to read a document.
type Answer struct {
	Status   int       // 0: no answer
	Date     time.Time // of the answer; zero: it says none
	Received time.Time
	Document *Document // nil: there is none
}

// Read asks for both documents and returns the first that is there, or the last
// answer. An error means that the server does not answer.
func Read(ctx context.Context, client *http.Client, baseURL string) (a Answer, err error) {
	for _, path := range Paths {
		if a, err = read(ctx, client, strings.TrimRight(baseURL, "/"), path); err != nil || a.Document != nil {
			return a, err
		}
	}
	return a, nil
}

func read(ctx context.Context, client *http.Client, base, path string) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return Answer{}, fmt.Errorf("the URL is not valid")
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	a := Answer{Status: resp.StatusCode, Received: time.Now()}
	a.Date, _ = http.ParseTime(resp.Header.Get("Date")) // the zero time if there is none
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument))
	if err != nil {
		return Answer{}, err
	}
	d := Document{Path: path}
	if resp.StatusCode == http.StatusOK && json.Unmarshal(body, &d) == nil && d.Issuer != "" {
		a.Document = &d
	}
	return a, nil
}
