package echov5_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"github.com/labstack/echo/v5"
	"github.com/labstack/echo/v5/middleware"
	"github.com/mxmconnect/mxmconnect/core/adaptertest"
	"github.com/mxmconnect/mxmconnect/echomw/echov5"
)

func TestAdapter(t *testing.T) {
	adaptertest.Run(t, func(app adaptertest.App) http.Handler { return build(echo.New(), app) })
}

// The setup is the one of the package's documentation.
func TestLogging(t *testing.T) {
	adaptertest.RunLogging(t, func(app adaptertest.App, log io.Writer) http.Handler {
		e := echo.New()
		e.Logger = slog.New(slog.NewTextHandler(log, nil))
		e.Use(middleware.RequestLoggerWithConfig(middleware.RequestLoggerConfig{
			LogMethod: true, LogStatus: true, HandleError: true,
			LogURIPath: true,
			LogValuesFunc: func(_ *echo.Context, v middleware.RequestLoggerValues) error {
				_, err := fmt.Fprintln(log, v.Method, v.URIPath, v.Status, v.Error)
				return err
			},
		}), middleware.Recover())
		return build(e, app)
	})
}

func BenchmarkEchoV5(b *testing.B) {
	adaptertest.Benchmark(b, func(app adaptertest.App) http.Handler { return build(echo.New(), app) })
}

func build(e *echo.Echo, app adaptertest.App) http.Handler {
	if app.Middleware {
		e.Use(echov5.Middleware(app.Auth))
		if app.Second != nil {
			e.Use(echov5.Middleware(app.Second))
		}
	}
	if app.RequireUser {
		e.Use(echov5.RequireUser(app.Auth))
	}
	echov5.Mount(e, app.Auth)
	if app.Second != nil {
		echov5.Mount(e, app.Second)
	}
	e.Any(app.WhoAmI, func(c *echo.Context) error { return c.String(http.StatusOK, echov5.UserID(c)) })
	for _, page := range app.Pages {
		var around []echo.MiddlewareFunc
		if page.RequireUser {
			around = append(around, echov5.RequireUser(app.Auth))
		}
		if page.RequireSecond {
			around = append(around, echov5.RequireUser(app.Second))
		}
		e.Any(page.Path, func(c *echo.Context) error { return page.Serve(c.Response(), c.Request()) }, around...)
	}
	return e
}
