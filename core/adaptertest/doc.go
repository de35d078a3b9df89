// Package adaptertest is the contract of an adapter, as tests. An adapter that
// passes [Run] behaves as nethttpmw, ginmw and echomw do, over real HTTP:
//
//	func TestAdapter(t *testing.T) {
//		adaptertest.Run(t, func(app adaptertest.App) http.Handler {
//			mux := http.NewServeMux()
//			nethttpmw.Mount(mux, app.Auth)
//			…
//		})
//	}
//
// Each case prints the promise it tests when it fails. It starts its own
// application and its own fake Musixmatch on loopback ports. The cases run in
// parallel. At the end of every case, no log and no body of the application may
// contain a code, a state, a token, a cookie's value or a secret.
package adaptertest

import (
	"net/http"
	"testing"

	"github.com/mxmconnect/mxmconnect/core"
)

// Adapter builds an application on the framework under test, as its users do. It
// must not add a recovery: panics must reach net/http's server.
type Adapter func(App) http.Handler

// App describes the application.
type App struct {
	// Auth has the routes that the adapter mounts, before everything else.
	Auth *core.Auth
	// Second is another Auth on the same site, or nil. Its routes are mounted, too.
	Second *core.Auth
	// Middleware asks for the adapter's middleware around all routes and pages;
	// that of Second is inside that of Auth.
	Middleware bool
	// RequireUser asks for the adapter's RequireUser of Auth around all routes and
	// pages, inside the middleware.
	RequireUser bool
	// WhoAmI is a path that answers any method with the adapter's UserID.
	WhoAmI string
	// Pages answer at their paths, whatever the method.
	Pages []Page
}

// Page is one page of the application.
type Page struct {
	Path string
	// RequireUser asks for the adapter's RequireUser around this page, and
	// RequireSecond for that of App.Second, inside the other.
	RequireUser, RequireSecond bool
	// Serve answers. The adapter passes an error to the framework as its users
	// do: it returns the error if handlers return errors, and otherwise renders
	// it with core.WriteError.
	Serve func(http.ResponseWriter, *http.Request) error
}

type testCase struct {
	name   string
	proves string
	run    func(t *testing.T, adapter Adapter)
}

// Run tests an adapter.
func Run(t *testing.T, adapter Adapter) {
	t.Helper()
	for _, cases := range [][]testCase{
		routeCases, loginCases, callbackCases, sessionCases, writerCases, outageCases,
		logoutCases, requireUserCases, twoAuthsCases, errorCases, connectCases, reentryCases, doorCases,
	} {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				t.Cleanup(func() {
					if t.Failed() {
						t.Logf("the adapter does not keep this promise: %s", c.proves)
					}
				})
				c.run(t, adapter)
			})
		}
	}
}
