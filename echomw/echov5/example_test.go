package echov5_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/labstack/echo/v5"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/echomw/echov5"
)

// The twelve lines of an application, asked as a script would.
func Example() {
	musixmatch := mxmtest.NewServer() // a fake one; leave BaseURL out for the real one
	defer musixmatch.Close()
	auth, err := core.New(musixmatch.Config("http://127.0.0.1:8080"))
	if err != nil {
		panic(err)
	}

	e := echo.New()
	e.Use(echov5.Middleware(auth))
	echov5.Mount(e, auth)
	e.GET("/me", func(c *echo.Context) error {
		return c.String(http.StatusOK, echov5.UserID(c))
	}, echov5.RequireUser(auth))

	w := httptest.NewRecorder()
	e.ServeHTTP(w, httptest.NewRequest("GET", "/me", nil))
	fmt.Print(w.Code, " ", w.Body)
	// Output: 401 {"message":"not_signed_in"}
}
