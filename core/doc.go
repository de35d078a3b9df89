// Package core signs users in with Musixmatch, or connects Musixmatch to the
// account that they have, and keeps their tokens alive.
//
// A sign-in is a round trip of the browser:
//
//  1. The login route makes a random state and a PKCE verifier, seals both into
//     a short-lived cookie, and redirects to Musixmatch.
//  2. The user signs in there and allows access. Musixmatch redirects to the
//     callback route with a code and the state.
//  3. The callback checks that this browser started this attempt, and claims
//     the attempt, so that it counts once.
//  4. It exchanges the code and the verifier for an access token and a refresh
//     token, and asks Musixmatch whose they are.
//  5. It stores the tokens as that user's grant, gives the browser a new
//     session, and redirects to where the user wanted to go.
//
// # Three things, three lifetimes
//
// A flow is one attempt to sign in. It lives for ten minutes, in a sealed cookie.
//
// A session says that this browser is user U. It lives for hours or days, in an
// scs store.
//
// A grant is the tokens of user U. It lives for months, in a [GrantStore] that
// all instances and background jobs share, as one sealed record with a version.
// Tokens are never part of a session: sessions are written back whole, and the
// last writer wins.
//
// # The promise
//
// A refresh token of Musixmatch works once, and each refresh ends the access
// tokens before it. So a refresh is announced in the store before the token is
// spent. The token is spent once, and the new tokens are stored by
// compare-and-swap before anything else is judged. If an answer is lost, the old
// access token tells what became of the refresh. Parallel requests, several
// instances, a closed browser, a crash or a failing store lose no grant. An
// answer that reached nobody cannot be saved: the loss is found within seconds
// and reported once, and one sign-in heals it.
//
// # Threats
//
// Who may attack, and what protects against it:
//
//   - Another site, in the user's browser. A sign-in ends only in the browser
//     that has its sealed __Host- cookie, so nobody can be signed in as somebody
//     else. Sign-out, connect and disconnect are POSTs that check Sec-Fetch-Site
//     and Origin. A return_to leaves the site only for Config.TrustedOrigins.
//   - Somebody who sees a redirect, in a log, a history or a Referer. The code is
//     useless without the verifier in the cookie, and counts once.
//   - Another host of the same domain. It cannot set a __Host- cookie. If a
//     session cookie is there twice, neither is believed.
//   - Another authorization server. With Endpoint.Issuer, a callback that names
//     another issuer (RFC 9207) is refused before the code is sent.
//   - Another application of Musixmatch. No function turns a token into a user,
//     because token-metadata does not say to whom a token was issued.
//   - Somebody who reads the store, or a backup. It holds hashes of session
//     tokens, and tokens sealed with Config.Keys.
//   - Somebody who writes to the store. A sealed record opens only in its own
//     place, so nobody's grant can be given to somebody else. Sessions and old
//     grants can be put back; a process repairs a grant that is older than the
//     one it remembers.
//   - Somebody who reads logs, errors or pages. They hold no token, code, state,
//     verifier, cookie or secret. Users appear as a keyed hash.
//   - A flood of requests. An anonymous request writes nothing to a store. The
//     browser keeps an attempt to sign in until it comes back with a code. Calls
//     to Musixmatch are bounded.
//
// Nothing here protects against a stolen key of Config.Keys, a stolen session
// cookie, or an attacker inside the process. SECURITY.md says where the promise
// ends.
//
// # How to use it
//
// Applications use one of the adapters: nethttpmw, ginmw, echomw. A route of
// this package either writes the answer, or returns an error with a status
// before the first byte. So an adapter only mounts [Auth.Routes], runs
// [Auth.Wrap], asks [Auth.Challenge], and renders errors.
package core
