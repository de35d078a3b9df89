// Package mxmtest is a fake Musixmatch: an authorization server, and a small
// API protected by it, for tests and for working offline.
//
//	srv := mxmtest.NewServer()
//	defer srv.Close()
//	srv.SignInAs("mxm:100000000000000000001")
//	auth, err := core.New(srv.Config("http://localhost:8080"))
//
// It is strict: it refuses what the contract and the RFCs do not allow, with the
// OAuth error they prescribe. Where the contract is silent, [Settings] decide;
// the defaults are the harsher reading.
//
// It is hostile on demand: [Server.Fail] makes the next requests to an endpoint
// go wrong in any way a network or a proxy can, before or after the server has
// acted.
//
// It keeps a record, so that a test need not trust the client it examines:
// [Server.Requests] returns what arrived and what the server decided,
// [Server.Live] and [Server.IsLive] which tokens live now.
//
// A [Profile] describes a real server, and [Server.Apply] replays it. The command
// mxm fake runs a Server alone:
//
//	go run github.com/mxmconnect/mxmconnect/cmd/mxm fake
//
// Endpoints:
//
//	GET  /oauth/authorize                          RFC 6749 4.1, RFC 7636, RFC 9207
//	POST /oauth/token                              RFC 6749 4.1.3, 4.4.2, 6
//	POST /oauth/token-metadata                     field accessToken
//	POST /oauth/revoke                             RFC 7009, only with Settings.Revocation
//	GET  /.well-known/oauth-authorization-server   RFC 8414
//	GET  /.well-known/openid-configuration
//	any  /whoami                                   the API: RFC 6750
//
// Two Servers in one process share nothing. A Server starts no goroutine that
// outlives Close, and takes the time from package time only, so it can live
// inside a testing/synctest bubble; see [NewUnstarted]. All methods are safe for
// concurrent use.
package mxmtest
