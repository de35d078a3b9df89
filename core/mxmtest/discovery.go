package mxmtest

import "net/http"

const keysPath = "/.well-known/jwks.json"

// discover answers with RFC 8414 metadata, or the OpenID configuration.
// They do not list token-metadata, which is not an RFC 7662 introspection endpoint.
func (s *Server) discover(r *Request) Response {
	if r.Method != http.MethodGet {
		return wrongMethod(r, http.MethodGet)
	}
	if r.Path == keysPath {
		return jsonResponse(http.StatusOK, map[string]any{"keys": []string{}})
	}
	doc := map[string]any{
		"issuer":                                s.URL,
		"authorization_endpoint":                s.URL + "/oauth/authorize",
		"token_endpoint":                        s.URL + "/oauth/token",
		"response_types_supported":              []string{"code"},
		"response_modes_supported":              []string{"query"},
		"grant_types_supported":                 []string{"authorization_code", "refresh_token", "client_credentials"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_post"},
		"code_challenge_methods_supported":      []string{"S256"},
		"scopes_supported":                      []string{"profile", "email"},
	}
	if s.settings.Issuer {
		doc["authorization_response_iss_parameter_supported"] = true
	}
	if s.settings.Revocation {
		doc["revocation_endpoint"] = s.URL + "/oauth/revoke"
		doc["revocation_endpoint_auth_methods_supported"] = []string{"client_secret_post"}
	}
	if r.Path == "/.well-known/openid-configuration" {
		// OpenID Connect Discovery 1.0 section 3 requires these.
		doc["jwks_uri"] = s.URL + keysPath
		doc["subject_types_supported"] = []string{"public"}
		doc["id_token_signing_alg_values_supported"] = []string{"RS256"}
	}
	return jsonResponse(http.StatusOK, doc)
}
