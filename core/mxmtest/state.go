package mxmtest

import (
	"slices"
	"time"
)

// Family is a login whose refresh token lives. Its tokens are what the contract
// calls related.
type Family struct {
	ID               int // counts logins, and client credentials requests, from 1
	UserID, ClientID string
	Scope            string
	RefreshToken     string // the unspent one
	AccessToken      string // the newest, or empty if that is dead
	Refreshes        int    // how many refresh tokens have been spent
}

func (s *Server) describe(f *family, now time.Time) Family {
	d := Family{ID: f.id, UserID: f.user, ClientID: f.client, Scope: f.scope,
		RefreshToken: s.mint(refreshKind, f, f.refresh), Refreshes: f.refresh - 1}
	if a := f.newest(now); a != nil {
		d.AccessToken = s.mint(accessKind, f, a.n)
	}
	return d
}

// Live returns the logins of a user, at any client, whose refresh token lives,
// oldest first.
func (s *Server) Live(userID string) []Family {
	s.mu.Lock()
	defer s.mu.Unlock()
	var live []Family
	now := time.Now()
	for _, f := range s.families {
		if f.user == userID && f.liveRefresh(now) {
			live = append(live, s.describe(f, now))
		}
	}
	slices.SortFunc(live, func(a, b Family) int { return a.ID - b.ID })
	return live
}

// IsLive reports whether an access token or a refresh token would be accepted
// now.
func (s *Server) IsLive(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	f, kind, n := s.lookup(token)
	if f == nil {
		return false
	}
	if kind == refreshKind {
		return f.liveRefresh(now) && !f.spent(n)
	}
	_, a := s.lookupAccess(token)
	return a != nil && a.live(now)
}

// Issue logs a user in at [DefaultClientID] without any request, like a login that
// happened earlier and elsewhere.
func (s *Server) Issue(userID string) Family {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	f, _ := s.login(DefaultClientID, userID, requiredScope, now)
	return s.describe(f, now)
}

// Revoke ends every login of a user at every client, as when the user withdraws
// consent. All tokens die.
func (s *Server) Revoke(userID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.each("", userID, func(f *family) { f.revoke(now) })
}

// ExpireAccessTokens makes a user's access tokens expire now, whatever their
// expires_in said. Refresh tokens stay valid.
func (s *Server) ExpireAccessTokens(userID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.each("", userID, func(f *family) {
		for i := range f.access {
			if f.access[i].live(now) {
				f.access[i].expires = now
			}
		}
	})
}
