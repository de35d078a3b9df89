// Package core signs users in with Musixmatch, or connects their Musixmatch
// account to the one they have, and keeps their tokens alive.
//
// A sign-in is a round trip of the browser. The login route makes a random
// state and a PKCE verifier, seals both into a short-lived cookie, and redirects
// to Musixmatch. The user signs in there and allows access. Musixmatch
// redirects to the callback route with a code and the state. The callback
// checks that this very browser started this very attempt, and claims it, so
// that it counts once. It trades the code and the verifier for an access token
// and a refresh token. It asks Musixmatch whose they are. It stores them as
// that user's grant. It gives the browser a new session. It redirects to where
// the user wanted to go.
//
// # Three things, three lifetimes
//
// A flow is one attempt to sign in: ten minutes, in a sealed cookie. A session
// says that this browser is user U: hours or days, in an scs store. A grant is
// the tokens of user U: months, sealed, one versioned record in a [GrantStore]
// that all instances and background jobs share. Tokens are never part of a
// session, because sessions are written back whole and the last writer wins.
//
// # The promise
//
// Musixmatch's refresh tokens work once, and each refresh ends the access
// tokens that came before. So a refresh is announced in the store before the
// token is spent, spent exactly once, and stored by compare-and-swap before
// anything is judged; a lost answer is resolved by asking what became of the
// old access token. Parallel requests, several instances, a browser that goes
// away, a crash or a failing store lose no grant. What cannot be saved, an
// answer that reached nobody, is found within seconds, reported once, and healed
// by one sign-in.
//
// # Threats
//
// Who may be trying, and what stands in the way:
//
//   - Another site, in the user's browser: a sign-in ends only where its sealed
//     __Host- cookie is, so nobody can be signed in as somebody else; sign-out,
//     connect and disconnect are POSTs that check Sec-Fetch-Site and Origin; a
//     return_to leaves the site only for Config.TrustedOrigins.
//   - Whoever sees a redirect, in a log, a history or a Referer: the code is
//     useless without the verifier in the cookie, and counts once.
//   - Another host of the same domain: it cannot set a __Host- cookie; where a
//     session cookie is there twice, neither is believed.
//   - Another authorization server: with Endpoint.Issuer, a callback that names
//     another issuer (RFC 9207) is refused before the code is sent.
//   - Another application of Musixmatch: there is no function that makes a token
//     into a user, because token-metadata does not say whom a token was issued to.
//   - Whoever reads the store, or a backup: session tokens are there as hashes,
//     tokens sealed with Config.Keys.
//   - Whoever writes the store: a sealed record opens only in its own place, so
//     nobody's grant can be given to somebody else; sessions and old grants can
//     be put back, and a grant older than what a process remembers is repaired.
//   - Whoever reads logs, errors or pages: no token, code, state, verifier,
//     cookie or secret is in them; users appear as a keyed hash.
//   - A flood of requests: an anonymous request writes nothing to a store, an
//     attempt to sign in is kept by the browser until it comes back with a code,
//     and calls to Musixmatch are bounded.
//
// A stolen key of Config.Keys, a stolen session cookie and a process that is
// not one's own are outside of it. The limits of the promise are in SECURITY.md.
//
// # How to use it
//
// Applications use one of the adapters: nethttpmw, ginmw, echomw. This package
// succeeds by writing to the http.ResponseWriter and fails by returning an
// error with a status, before the first byte; an adapter only mounts [Auth.Routes],
// runs [Auth.Wrap], asks [Auth.Challenge] and renders errors.
//
// # Map
//
//	config.go     Config, Endpoint: what an application says; validate.go what is wrong with it
//	auth.go       Auth, New, Routes, Close
//	discovery.go  Discover: the server's own account of its endpoints
//	login.go callback.go logout.go connect.go disconnect.go   one file per route; route.go is what they share
//	flow.go       the attempt in its sealed cookie
//	session.go    who is signed in; stamp.go and codec.go how that is stored; lazy.go what is read of it, and when
//	signin.go idle.go save.go wrap.go   how it begins, ends, and is saved before the first byte
//	manager.go    NewSessions
//	user.go       UserID, Challenge, LoginURL
//	returnto.go   where a browser may be sent
//	grant.go      Record and GrantStore; record.go the grant inside; seal.go its encryption
//	memory.go     both stores in memory
//	refresh.go    the refresh protocol, and the files it names; keeper.go what a process knows of a grant,
//	              intent.go the announcement, oracle.go what the old token says, times.go the waits
//	client.go app.go   tokens and HTTP clients for users and for the application
//	storelogin.go import.go verify.go   a grant begins, is taken over, is asked about
//	endpoint.go   the only file that talks to Musixmatch, over transport.go; answer.go what it says, clock.go what time it has
//	errors.go write.go event.go   outcomes for callers, for browsers, for operators
package core
