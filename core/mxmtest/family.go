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

// family is everything that came from one login, or from one client-credentials
// request. Refresh tokens are numbered, and those below the newest are spent but
// for a few, so spent tokens take no memory.
type family struct {
	id                  int
	user, client, scope string
	revoked             bool

	refresh        int       // number of the newest refresh token
	refreshExpires time.Time // zero: there never was one
	unspent        []int     // older ones that live, after AnotherPair
	lastSpent      int       // the one that was spent last
	spentAt        time.Time // and when

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

func (f *family) spent(n int) bool { return n < f.refresh && !slices.Contains(f.unspent, n) }

func (f *family) spend(n int, now time.Time) {
	f.lastSpent, f.spentAt = n, now
	if n != f.refresh { // an older one; the newest is about to be an older one
		f.unspent = append(slices.DeleteFunc(f.unspent, func(u int) bool { return u == n }), f.refresh)
	}
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
		// No token of a dead family is accepted again.
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
	f.refresh++
	f.refreshExpires = now.Add(s.settings.RefreshLifetime)
}

// mint returns a token. Its number and MAC identify it. The padding at the end
// catches a client that does not escape it in a form.
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
