package nethttpmw_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/mxmconnect/mxmconnect/nethttpmw"
)

// Pitfall: UserID is empty where neither Middleware nor RequireUser is around a
// handler. An empty user is nobody, and never an error: protect with RequireUser.
func ExampleUserID_pitfallNoMiddleware() {
	page := func(w http.ResponseWriter, r *http.Request) {
		fmt.Printf("user %q\n", nethttpmw.UserID(r))
	}
	page(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	// Output:
	// user ""
}
