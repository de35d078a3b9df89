package mxmtest

import "github.com/mxmconnect/mxmconnect/core"

// CallbackPath is the path of the callback that Config registers.
const CallbackPath = "/auth/musixmatch/callback"

// Config returns the configuration of [DefaultClientID] for an application at
// appURL, which is an origin without a slash at the end. It registers the
// application's callback, and allows bearer tokens to be sent to the Server's
// API.
func (s *Server) Config(appURL string) core.Config {
	redirect, secret := appURL+CallbackPath, DefaultClientSecret
	s.mu.Lock()
	if c := s.clients[DefaultClientID]; c != nil {
		secret = c.secret
	}
	s.mu.Unlock()
	s.AddClient(DefaultClientID, secret, redirect)
	return core.Config{
		ClientID:     DefaultClientID,
		ClientSecret: secret,
		RedirectURL:  redirect,
		BaseURL:      s.URL,
		APIOrigins:   []string{s.APIURL()},
	}
}
