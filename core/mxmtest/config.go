package mxmtest

import "github.com/mxmconnect/mxmconnect/core"

// CallbackPath is the path of the callback that Config registers.
const CallbackPath = "/auth/musixmatch/callback"

// Config registers the callback of an application at appURL, its origin without
// a slash at the end, for [DefaultClientID], and returns the configuration of
// that client at this Server. Bearer tokens may go to the Server's API.
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
