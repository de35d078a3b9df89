package core

import (
	"context"
	"net/http"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
)

// Discover reads the server's own account of its endpoints: RFC 8414 metadata,
// or else its OpenID configuration. The issuer in it must equal baseURL exactly,
// and all URLs must be https, unless all of them are on loopback hosts. Missing endpoints stay
// empty; [New] then uses the documented paths. Neither document names
// token-metadata. hc may be nil. The call ends after 10 seconds.
func Discover(ctx context.Context, baseURL string, hc *http.Client) (Endpoint, error) {
	e, err := musixmatch.Discover(ctx, baseURL, hc)
	return Endpoint(e), err
}
