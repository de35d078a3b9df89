package mxmtest

import "time"

// ReusePolicy is what the replay of a spent refresh token does, besides getting
// invalid_grant. The contract does not say.
type ReusePolicy int

const (
	// RevokeFamily ends the whole family, the newest tokens included. The default.
	RevokeFamily ReusePolicy = iota
	// Plain ends nothing.
	Plain
)

// KillScope is which access tokens a successful refresh kills. The contract
// says "all related".
type KillScope int

const (
	// PerLogin kills those that came from the same login. The default.
	PerLogin KillScope = iota
	// PerUser kills those of the same user and client, whatever the login.
	PerUser
	// KillNone lets old access tokens live, against the contract. Use it to
	// test that a client notices.
	KillNone
)

// GraceAnswer is what the replay of a spent refresh token gets within
// [Settings.Grace].
type GraceAnswer int

const (
	// SamePair answers with the pair that the first use got. The default. An
	// access token that is dead is replaced by a fresh one.
	SamePair GraceAnswer = iota
	// NewPair answers with another pair, and ends the one before.
	NewPair
	// AnotherPair answers with another pair, and the one before lives on.
	AnotherPair
)

// Settings choose how the Server behaves where the contract leaves room, or where
// a test needs another server. Change them with [Server.Configure].
type Settings struct {
	CodeLifetime    time.Duration // one minute unless set
	AccessLifetime  time.Duration // one hour unless set; expires_in has it in whole seconds, SetField can change that
	RefreshLifetime time.Duration // of each refresh token from its issue; 180 days unless set

	Reuse ReusePolicy

	// Grace is how long the newest spent refresh token may be replayed after it
	// was spent, until a token that it was exchanged for is spent. GraceAnswer
	// says what a replay gets. Reuse decides about other replays. Zero means no
	// grace.
	Grace       time.Duration
	GraceAnswer GraceAnswer

	// LoserInvalidRequest answers invalid_request, and ends nothing, when the
	// refresh token was spent by another request while this one was under way.
	LoserInvalidRequest bool

	Kill KillScope

	// NoRotation makes a refresh answer without a refresh_token. The presented
	// one stays valid.
	NoRotation bool

	// SingleLogin makes a login end the tokens of the same user's earlier
	// logins at the same client.
	SingleLogin bool

	// Issuer adds iss to the authorization response (RFC 9207) and announces it
	// in the metadata.
	Issuer bool

	// Revocation opens /oauth/revoke (RFC 7009) and advertises it.
	Revocation bool

	// BirthLag and DeathLag make token-metadata late: a new token is inactive
	// for BirthLag, and a killed one stays active for DeathLag. The natural end
	// of an access token is never late. The API does not lag.
	BirthLag, DeathLag time.Duration

	DateSkew time.Duration // added to the Date header of every answer
	NoDate   bool          // leaves the Date header out

	// MetadataAuth makes token-metadata want client_id and client_secret in the
	// body. Otherwise it refuses a client that sends its secret.
	MetadataAuth bool

	// MetadataCalls is how many calls token-metadata takes within
	// MetadataWindow, which begins with the first of them. It answers others with
	// 429 and Retry-After, in whole seconds. Zero means any number.
	MetadataCalls  int
	MetadataWindow time.Duration // one minute unless set

	NoExpiresIn bool // leaves expires_in out of token responses

	// ForgetsCut makes the Server not process a request whose client has hung up
	// before. Otherwise what has arrived is processed.
	ForgetsCut bool

	// KeepRequests bounds Requests: when more have arrived, the Server forgets
	// the oldest half. 100,000 unless set.
	KeepRequests int
}

// DefaultSettings returns the settings of a new Server.
func DefaultSettings() Settings {
	return Settings{
		CodeLifetime:    time.Minute,
		AccessLifetime:  time.Hour,
		RefreshLifetime: 180 * 24 * time.Hour,
		MetadataWindow:  time.Minute,
		KeepRequests:    100_000,
	}
}

// Configure changes settings from the next request on. Issued tokens keep their
// lifetimes.
//
//	srv.Configure(func(c *mxmtest.Settings) { c.Reuse = mxmtest.Plain })
func (s *Server) Configure(change func(*Settings)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.settings)
}
