package mxmtest_test

import (
	"context"
	"fmt"
	"net/http"

	"golang.org/x/oauth2"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// The rotated pair is lost on the way: what a client believes and what is true
// are two things, and only the Server's own books tell.
func Example() {
	srv := mxmtest.NewServer()
	defer srv.Close()
	login := srv.Issue("mxm:100000000000000000001")
	srv.Fail(mxmtest.Token, mxmtest.DropResponse)

	config := oauth2.Config{ClientID: mxmtest.DefaultClientID, ClientSecret: mxmtest.DefaultClientSecret,
		Endpoint: oauth2.Endpoint{TokenURL: srv.URL + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams}}
	_, err := config.TokenSource(context.Background(), &oauth2.Token{RefreshToken: login.RefreshToken}).Token()

	fmt.Println("the client failed:", err != nil)
	fmt.Println("its token lives:", srv.IsLive(login.RefreshToken))
	for _, r := range srv.Requests() {
		fmt.Println(r.Endpoint, r.GrantType, r.UserID, r.Outcome)
	}
	// Output:
	// the client failed: true
	// its token lives: false
	// token refresh_token mxm:100000000000000000001 ok
}

// An application's own tests begin with Config and SignInAs.
func ExampleServer_Config() {
	srv := mxmtest.NewServer()
	defer srv.Close()
	config := srv.Config("http://localhost:8080") // for core.New
	srv.SignInAs("mxm:100000000000000000001")

	fmt.Println(config.RedirectURL, config.BaseURL == srv.URL)
	// Output: http://localhost:8080/auth/musixmatch/callback true
}

// Faults have conditions, and can be put together.
func ExampleServer_Fail() {
	srv := mxmtest.NewServer()
	defer srv.Close()
	proxyLosesAnswer := mxmtest.AfterCommit(mxmtest.HTML(http.StatusBadGateway))
	srv.Fail(mxmtest.Token, proxyLosesAnswer, mxmtest.Grant("refresh_token"), mxmtest.Times(3))
	srv.Fail(mxmtest.Token, mxmtest.SetField("expires_in", `"3600"`), mxmtest.Always())
	srv.Fail(mxmtest.Metadata, func(x *mxmtest.Exchange) {
		if x.Request.UserID == "mxm:100000000000000000002" {
			x.Answer(http.StatusOK, "application/json", []byte(`{"active":"yes"}`))
		}
	}, mxmtest.Always())
}
