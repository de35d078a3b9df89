package ginmw_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/gin-gonic/gin"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/ginmw"
)

// The twelve lines of an application, asked as a script would.
func Example() {
	musixmatch := mxmtest.NewServer() // a fake one; leave BaseURL out for the real one
	defer musixmatch.Close()
	auth, err := core.New(musixmatch.Config("http://127.0.0.1:8080"))
	if err != nil {
		panic(err)
	}

	r := gin.New()
	r.Use(ginmw.Middleware(auth))
	ginmw.Mount(r, auth)
	r.GET("/me", ginmw.RequireUser(auth), func(c *gin.Context) {
		c.String(http.StatusOK, ginmw.UserID(c))
	})

	w := httptest.NewRecorder()
	r.ServeHTTP(w, httptest.NewRequest("GET", "/me", nil))
	fmt.Print(w.Code, " ", w.Body)
	// Output: 401 {"error":"not_signed_in"}
}
