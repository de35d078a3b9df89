package mxmtest

import "time"

// ReusePolicy says what the replay of a spent refresh token does, beyond
// getting invalid_grant. The contract does not say.
type ReusePolicy int

const (
	// RevokeFamily ends the whole family, the newest tokens included. The default.
	RevokeFamily ReusePolicy = iota
	// Plain ends nothing.
	Plain
)

// KillScope says which access tokens a successful refresh kills. The contract
// says "all related".
type KillScope int

const (
	// PerLogin kills those that came from the same login. The default.
	PerLogin KillScope = iota
	// PerUser kills those of the same user and client, whatever the login.
	PerUser
	// KillNone lets old access tokens live: against the contract, for clients
	// that want to notice.
	KillNone
)

// Settings is how the Server behaves where the contract leaves room, or where a
// test wants another world. Change them with [Server.Configure].
type Settings struct {
	CodeLifetime    time.Duration // one minute unless set
	AccessLifetime  time.Duration // one hour unless set; expires_in says it in whole seconds, see SetField for lies
	RefreshLifetime time.Duration // of each refresh token from its issue; 180 days unless set

	Reuse ReusePolicy

	// Grace is how long after it was spent the newest spent refresh token may be
	// replayed: the answer is the same successor pair again (with a fresh
	// access token if that one is dead), as long as the successor is unspent.
	// Other replays are judged by Reuse. Zero: no grace.
	Grace time.Duration

	// LoserInvalidRequest answers invalid_request, and ends nothing, when the
	// refresh token was spent by another request while this one was under way.
	LoserInvalidRequest bool

	Kill KillScope

	// NoRotation lets a refresh answer without a refresh_token; the presented
	// one stays good.
	NoRotation bool

	// SingleLogin lets a login end the tokens of the same user's earlier
	// logins at the same client.
	SingleLogin bool

	// Issuer adds iss to the authorization response (RFC 9207) and says so in
	// the metadata.
	Issuer bool

	// Revocation opens /oauth/revoke (RFC 7009) and advertises it.
	Revocation bool

	// BirthLag and DeathLag make token-metadata answer from the past: a new
	// token is inactive for BirthLag, a killed one stays active for DeathLag.
	// An access token's natural end is never late. The API does not lag.
	BirthLag, DeathLag time.Duration

	DateSkew time.Duration // added to the Date header of every answer
	NoDate   bool          // leaves the Date header out

	// KeepRequests bounds Requests: when more have arrived, the oldest half is
	// forgotten. 100,000 unless set.
	KeepRequests int
}

// DefaultSettings is how a Server starts.
func DefaultSettings() Settings {
	return Settings{
		CodeLifetime:    time.Minute,
		AccessLifetime:  time.Hour,
		RefreshLifetime: 180 * 24 * time.Hour,
		KeepRequests:    100_000,
	}
}

// Configure changes settings, from the next request on. Tokens that were issued
// keep the lifetimes they were issued with.
//
//	srv.Configure(func(c *mxmtest.Settings) { c.Reuse = mxmtest.Plain })
func (s *Server) Configure(change func(*Settings)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.settings)
}
