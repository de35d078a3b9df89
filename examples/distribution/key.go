package main

import (
	"errors"
	"net/http"
	"os"

	"github.com/mxmconnect/mxmconnect/internal/setup"
)

// keyPartner returns a client of the newer generation, which wants an API key and
// the ID of a user who has signed in, and no token.
func keyPartner(base, key, userID string) *partner {
	return &partner{client: &http.Client{Transport: keyed{key, userID}}, base: base, say: os.Stdout}
}

func keyPartnerFromEnvironment(key string) (*partner, error) {
	var env setup.Environment
	base := env.Get("MXM_PARTNER_URL", "https://api.musixmatch.com/ws/1.1")
	env.Origin("MXM_PARTNER_URL", base)
	userID := userID(&env)
	return keyPartner(base, key, userID), env.Err()
}

// keyed adds the key and the user ID to the query, below http.Client, so that no
// URL contains the key in errors, or in the logs and spans of a RoundTripper around
// keyed.
type keyed struct{ key, userID string }

// RoundTrip implements http.RoundTripper. It refuses redirects, which could carry
// the key to another server, or back to us in a URL.
func (k keyed) RoundTrip(req *http.Request) (*http.Response, error) {
	sent := req.Clone(req.Context())
	query := sent.URL.Query()
	query.Set("apikey", k.key)
	query.Set("user_id", k.userID)
	sent.URL.RawQuery = query.Encode()
	res, err := http.DefaultTransport.RoundTrip(sent)
	if err != nil {
		return nil, err
	}
	if res.StatusCode/100 == 3 {
		res.Body.Close()
		return nil, errors.New("the API redirects, and the key goes nowhere else")
	}
	res.Request = req
	return res, nil
}
