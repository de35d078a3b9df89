package mxmtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	accessKind  = "at"
	refreshKind = "rt"
)

// keepDead is how many dead access tokens a family remembers, for DeathLag.
const keepDead = 16

// family is everything that came from one login, or from one client credentials
// request. Refresh tokens are numbered: those below the newest are spent, so any
// number of them costs no memory.
type family struct {
	id                  int
	user, client, scope string
	revoked             bool

	refresh        int       // number of the newest refresh token
	refreshExpires time.Time // zero: there never was one
	spentAt        time.Time // when the one before was spent
	spentTick      uint64

	issued int      // number of the newest access token
	access []access // oldest first
}

type access struct {
	n                       int
	issued, expires, killed time.Time
}

func (a *access) live(now time.Time) bool { return a.killed.IsZero() && now.Before(a.expires) }

func (f *family) liveRefresh(now time.Time) bool {
	return !f.revoked && now.Before(f.refreshExpires)
}

// newest returns the newest access token if it lives.
func (f *family) newest(now time.Time) *access {
	if n := len(f.access); n > 0 && f.access[n-1].live(now) {
		return &f.access[n-1]
	}
	return nil
}

func (f *family) kill(now time.Time) {
	for i := range f.access {
		if f.access[i].live(now) {
			f.access[i].killed = now
		}
	}
}

func (f *family) revoke(now time.Time) {
	f.revoked = true
	f.kill(now)
}

func (s *Server) newFamily(clientID, userID, scope string) *family {
	now := time.Now()
	if len(s.families) >= s.sweepAt {
		// Nothing of a dead family is ever accepted again, known or unknown.
		for id, f := range s.families {
			if !f.liveRefresh(now) && now.Sub(f.ended()) > time.Hour {
				delete(s.families, id)
			}
		}
		s.sweepAt = 2*len(s.families) + 1024
	}
	s.lastFamily++
	f := &family{id: s.lastFamily, user: userID, client: clientID, scope: scope}
	s.families[f.id] = f
	return f
}

// ended is when the newest access token dies or died.
func (f *family) ended() time.Time {
	if len(f.access) == 0 {
		return time.Time{}
	}
	a := f.access[len(f.access)-1]
	if !a.killed.IsZero() {
		return a.killed
	}
	return a.expires
}

func (s *Server) issueAccess(f *family, now time.Time) *access {
	dead := 0
	for i := len(f.access) - 1; i >= 0; i-- {
		if !f.access[i].live(now) {
			if dead++; dead > keepDead {
				f.access = slices.Delete(f.access, i, i+1)
			}
		}
	}
	f.issued++
	f.access = append(f.access, access{n: f.issued, issued: now, expires: now.Add(s.settings.AccessLifetime)})
	return &f.access[len(f.access)-1]
}

func (s *Server) issueRefresh(f *family, now time.Time) {
	s.tick++
	f.refresh++
	f.spentAt, f.spentTick = now, s.tick
	f.refreshExpires = now.Add(s.settings.RefreshLifetime)
}

// mint writes a token. The number and the MAC say all about it; the padding at
// the end is what a client forgets to escape in a form.
func (s *Server) mint(kind string, f *family, n int) string {
	head := fmt.Sprintf("%s.%d.%d.", kind, f.id, n)
	mac := hmac.New(sha256.New, s.key)
	mac.Write([]byte(head))
	return head + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// lookup finds the family of a token that this Server has issued.
func (s *Server) lookup(token string) (f *family, kind string, n int) {
	parts := strings.SplitN(token, ".", 4)
	if len(parts) != 4 {
		return nil, "", 0
	}
	id, _ := strconv.Atoi(parts[1])
	n, _ = strconv.Atoi(parts[2])
	f = s.families[id]
	if f == nil || !hmac.Equal([]byte(token), []byte(s.mint(parts[0], f, n))) {
		return nil, "", 0
	}
	return f, parts[0], n
}

// lookupAccess finds an access token, dead or alive.
func (s *Server) lookupAccess(token string) (*family, *access) {
	f, kind, n := s.lookup(token)
	if f == nil || kind != accessKind {
		return nil, nil
	}
	for i := range f.access {
		if f.access[i].n == n {
			return f, &f.access[i]
		}
	}
	return f, nil
}

// Family is a login whose refresh token lives: the contract's "related" tokens.
type Family struct {
	ID               int // counts logins, and client credentials requests, from 1
	UserID, ClientID string
	Scope            string
	RefreshToken     string // the one that is unspent
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
		return f.liveRefresh(now) && n == f.refresh
	}
	_, a := s.lookupAccess(token)
	return a != nil && a.live(now)
}

// Issue logs a user in at [DefaultClientID] without any request, as if
// somebody had done it long ago and elsewhere.
func (s *Server) Issue(userID string) Family {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	f, _ := s.login(DefaultClientID, userID, requiredScope, now)
	return s.describe(f, now)
}

// login starts a family with its first pair.
func (s *Server) login(clientID, userID, scope string, now time.Time) (*family, *access) {
	if s.settings.SingleLogin {
		s.each(clientID, userID, func(f *family) { f.revoke(now) })
	}
	f := s.newFamily(clientID, userID, scope)
	s.issueRefresh(f, now)
	return f, s.issueAccess(f, now)
}

// each calls do for the families of a user; clientID "" means any client.
func (s *Server) each(clientID, userID string, do func(*family)) {
	for _, f := range s.families {
		if f.user == userID && (clientID == "" || f.client == clientID) {
			do(f)
		}
	}
}

// Revoke ends every login of a user at every client, as when the user withdraws
// consent: all tokens are dead.
func (s *Server) Revoke(userID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.each("", userID, func(f *family) { f.revoke(now) })
}

// ExpireAccessTokens lets a user's access tokens reach their natural end now,
// whatever their expires_in said. Refresh tokens stay.
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
