package echov5_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/labstack/echo/v5"
	"github.com/labstack/echo/v5/middleware"
)

// Pitfall: with LogURI, Echo's request logger prints queries, and the callback's
// holds a code. Take LogURIPath.
func ExampleMiddleware_pitfallLogger() {
	e := echo.New()
	e.Use(middleware.RequestLoggerWithConfig(middleware.RequestLoggerConfig{
		LogMethod: true, HandleError: true,
		LogURIPath: true,
		LogValuesFunc: func(_ *echo.Context, v middleware.RequestLoggerValues) error {
			_, err := fmt.Println(v.Method, v.URIPath)
			return err
		},
	}))
	e.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/auth/musixmatch/callback?code=one-time&state=secret", nil))
	// Output:
	// GET /auth/musixmatch/callback
}
