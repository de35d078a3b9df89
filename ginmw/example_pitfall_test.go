package ginmw_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"

	"github.com/gin-gonic/gin"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/ginmw"
)

// Pitfall: Gin's logger prints queries, and the callback's holds a code. Print
// the path of the URL instead, or set SkipQueryString, which Gin has since 1.12.
// Gin's recovery prints cookies; give it no writer.
func ExampleMiddleware_pitfallLogger() {
	r := gin.New()
	r.Use(gin.LoggerWithConfig(gin.LoggerConfig{
		Output:    os.Stdout,
		Formatter: func(p gin.LogFormatterParams) string { return fmt.Sprintln(p.Method, p.Request.URL.Path) },
	}), gin.RecoveryWithWriter(nil))
	r.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/auth/musixmatch/callback?code=one-time&state=secret", nil))
	// Output:
	// GET /auth/musixmatch/callback
}

// Pitfall: Gin gives a *gin.Context to another request when the handler has
// returned. A goroutine that goes on takes the user ID along, never the context.
func ExampleUserID_pitfallGoroutine() {
	var work sync.WaitGroup
	r := gin.New()
	r.GET("/", func(c *gin.Context) {
		userID := ginmw.UserID(c)
		work.Go(func() { fmt.Println("working for", userID) })
	})
	req := httptest.NewRequest(http.MethodGet, "/", nil)
	req = req.WithContext(core.WithUserID(req.Context(), "mxm:100000000000000000001"))
	r.ServeHTTP(httptest.NewRecorder(), req)
	work.Wait()
	// Output:
	// working for mxm:100000000000000000001
}
