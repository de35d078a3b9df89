// Package browsertest drives the demo apps with a real Chromium:
//
//	cd internal/browsertest && go test ./...
//
// It is a module of its own, so that nobody who uses mxmconnect compiles a
// browser's driver. With -screenshots=DIR it leaves pictures of every page.
package browsertest
