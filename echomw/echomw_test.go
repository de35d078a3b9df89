package echomw_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/mxmconnect/mxmconnect/core/adaptertest"
	"github.com/mxmconnect/mxmconnect/echomw"
)

func TestAdapter(t *testing.T) {
	adaptertest.Run(t, func(app adaptertest.App) http.Handler { return build(echo.New(), app) })
}

// The setup is the one of the package's documentation.
func TestLogging(t *testing.T) {
	for name, logger := range map[string]func(io.Writer) echo.MiddlewareFunc{
		"RequestLogger": func(log io.Writer) echo.MiddlewareFunc {
			return middleware.RequestLoggerWithConfig(middleware.RequestLoggerConfig{
				LogMethod: true, LogStatus: true, HandleError: true, LogError: true,
				LogURIPath: true,
				LogValuesFunc: func(_ echo.Context, v middleware.RequestLoggerValues) error {
					_, err := fmt.Fprintln(log, v.Method, v.URIPath, v.Status, v.Error)
					return err
				},
			})
		},
		"Logger": func(log io.Writer) echo.MiddlewareFunc {
			config := middleware.DefaultLoggerConfig
			config.Output, config.Format = log, strings.ReplaceAll(config.Format, "${uri}", "${path}")
			//lint:ignore SA1019 it is what most applications have
			return middleware.LoggerWithConfig(config)
		},
	} {
		t.Run(name, func(t *testing.T) {
			adaptertest.RunLogging(t, func(app adaptertest.App, log io.Writer) http.Handler {
				e := echo.New()
				e.Logger.SetOutput(log)
				e.Use(logger(log), middleware.Recover())
				return build(e, app)
			})
		})
	}
}

func BenchmarkEcho(b *testing.B) {
	adaptertest.Benchmark(b, func(app adaptertest.App) http.Handler { return build(echo.New(), app) })
}

func build(e *echo.Echo, app adaptertest.App) http.Handler {
	if app.Middleware {
		e.Use(echomw.Middleware(app.Auth))
		if app.Second != nil {
			e.Use(echomw.Middleware(app.Second))
		}
	}
	if app.RequireUser {
		e.Use(echomw.RequireUser(app.Auth))
	}
	echomw.Mount(e, app.Auth)
	if app.Second != nil {
		echomw.Mount(e, app.Second)
	}
	e.Any(app.WhoAmI, func(c echo.Context) error { return c.String(http.StatusOK, echomw.UserID(c)) })
	for _, page := range app.Pages {
		var around []echo.MiddlewareFunc
		if page.RequireUser {
			around = append(around, echomw.RequireUser(app.Auth))
		}
		if page.RequireSecond {
			around = append(around, echomw.RequireUser(app.Second))
		}
		e.Any(page.Path, func(c echo.Context) error { return page.Serve(c.Response(), c.Request()) }, around...)
	}
	return e
}
