package nethttpmw_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/nethttpmw"
)

// The twelve lines of an application, asked as a script would.
func Example() {
	musixmatch := mxmtest.NewServer() // a fake one; leave BaseURL out for the real one
	defer musixmatch.Close()
	auth, err := core.New(musixmatch.Config("http://127.0.0.1:8080"))
	if err != nil {
		panic(err)
	}

	mux := http.NewServeMux()
	nethttpmw.Mount(mux, auth)
	mux.Handle("GET /me", nethttpmw.RequireUser(auth)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, nethttpmw.UserID(r))
	})))
	app := nethttpmw.Middleware(auth)(mux) // for http.ListenAndServe

	w := httptest.NewRecorder()
	app.ServeHTTP(w, httptest.NewRequest("GET", "/me", nil))
	fmt.Print(w.Code, " ", w.Body)
	// Output: 401 {"error":"not_signed_in"}
}
