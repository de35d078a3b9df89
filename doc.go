// Package mxmconnect is "Sign in with Musixmatch" for net/http, Gin and Echo,
// with tokens that stay alive. It holds no code: import the packages below.
//
//   - core has the configuration, the sign-in routes and the clients for
//     Musixmatch's API. Start at [core.New].
//   - nethttpmw, ginmw, echomw and echomw/echov5 put core into net/http (and chi),
//     Gin, Echo v4 and Echo v5.
//   - sessionstore has the stores for sessions and tokens: SQLite, Redis,
//     Postgres, and a suite that tests a store of your own.
//   - core/mxmtest is a fake Musixmatch. Use it in tests and to work offline.
//   - core/mxmotel turns events into OpenTelemetry metrics and spans.
//   - cmd/mxm checks a configuration, measures how the server behaves, and runs
//     the fake alone.
//   - examples has whole programs. Each runs offline with one command.
//
// # Why
//
// A refresh token of Musixmatch works once. Each refresh ends the old refresh
// token and every access token that came with it. Parallel requests, several
// instances, a lost answer or a crash then cost a login if tokens are kept in
// the usual way. Package core announces a refresh in the store, sends the token
// once, and stores the answer before it judges it.
//
// [core.New]: https://pkg.go.dev/github.com/mxmconnect/mxmconnect/core#New
package mxmconnect
