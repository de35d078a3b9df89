package nethttpmw_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/nethttpmw"
)

// A page for people who have signed in. The browser that asks for it is sent to
// Musixmatch, a fake one here, and comes back signed in.
func Example() {
	musixmatch := mxmtest.NewServer()
	defer musixmatch.Close()
	musixmatch.SignInAs("mxm:100000000000000000001")

	app := httptest.NewUnstartedServer(nil)
	cfg := musixmatch.Config("http://" + app.Listener.Addr().String()) // yours: ClientID, ClientSecret, RedirectURL
	auth, err := core.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer auth.Close(context.Background())

	mux := http.NewServeMux()
	nethttpmw.Mount(mux, auth)
	mux.Handle("GET /me", nethttpmw.RequireUser(auth)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "You are", nethttpmw.UserID(r))
	})))
	app.Config.Handler = nethttpmw.Middleware(auth)(mux)
	app.Start()
	defer app.Close()

	browse(app.URL + "/me")
	// Output:
	// You are mxm:100000000000000000001
}

// browse opens a page as a browser does: it keeps cookies and follows redirects.
func browse(url string) {
	jar, _ := cookiejar.New(nil)
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		log.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	resp, err := (&http.Client{Jar: jar}).Do(req)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(string(page))
}
