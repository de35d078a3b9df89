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
//	refresh.go    the refresh protocol, and the files it names
//	client.go app.go   tokens and HTTP clients for users and for the application
//	endpoint.go   the only file that talks to Musixmatch, over transport.go; answer.go what it says, clock.go what time it has
//	errors.go write.go event.go   outcomes for callers, for browsers, for operators
package core
