package mxmtest

import (
	"crypto/subtle"
	"slices"
)

type client struct {
	id, secret string
	redirects  []string
}

type user struct{ ID, Name string }

// decision is how /oauth/authorize answers without showing the sign-in page. The
// zero value shows it.
type decision struct {
	user string
	deny bool
}

func defaultUsers() []user {
	return []user{
		{"mxm:100000000000000000001", "Ada"},
		{"mxm:100000000000000000002", "Ben"},
		{"mxm:100000000000000000003", "Cleo"},
	}
}

// AddClient registers a client, or replaces the secret of a registered one and
// adds to its redirect URIs. Tokens do not change.
func (s *Server) AddClient(id, secret string, redirectURIs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.clients[id]
	if c == nil {
		c = &client{id: id}
		s.clients[id] = c
	}
	c.secret = secret
	for _, uri := range redirectURIs {
		if !slices.Contains(c.redirects, uri) {
			c.redirects = append(c.redirects, uri)
		}
	}
}

// RemoveClient removes a client. From now on the Server does not know it.
func (s *Server) RemoveClient(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, id)
}

// AddUser adds a user to the sign-in page.
func (s *Server) AddUser(userID, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users = append(s.users, user{userID, name})
}

// SignInAs makes /oauth/authorize answer at once, as if this user had signed in
// and allowed access. The user need not be on the sign-in page. An empty userID
// brings the sign-in page back.
func (s *Server) SignInAs(userID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.decision = decision{user: userID}
}

// Deny makes /oauth/authorize answer at once with access_denied, as if the user
// had refused.
func (s *Server) Deny() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.decision = decision{deny: true}
}

// authenticate returns the client whose credentials are in the form, or nil.
func (s *Server) authenticate(r *Request) *client {
	c := s.clients[r.Form.Get("client_id")]
	if c == nil || c.secret == "" || subtle.ConstantTimeCompare([]byte(c.secret), []byte(r.Form.Get("client_secret"))) != 1 {
		return nil
	}
	return c
}
