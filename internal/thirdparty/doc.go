// Package thirdparty tests the adapters together with what applications put
// around them: compression, CORS, CSRF tokens, WebSockets and more. It writes the
// table of docs/middleware.md:
//
//	go test . -write
//
// It is a module of its own, so that its dependencies are nobody else's.
package thirdparty
