// Command echo shows sign-in, sign-out, API calls and the loss of a grant on Echo.
// It runs offline. Set MXM_CLIENT_ID and MXM_CLIENT_SECRET to run it against Musixmatch.
package main

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/echomw"
	"github.com/mxmconnect/mxmconnect/examples/internal/demo"
)

func main() { demo.Run(routes) }

func routes(d *demo.Demo) http.Handler {
	handle := func(h demo.Handler) echo.HandlerFunc {
		return func(c echo.Context) error {
			return h(c.Response(), c.Request(), echomw.UserID(c))
		}
	}
	signedIn := echomw.RequireUser(d.Auth)

	e := echo.New()
	e.HTTPErrorHandler = func(err error, c echo.Context) {
		switch {
		case c.Response().Committed:
			return
		case errors.Is(err, echo.ErrNotFound):
			err = handle(d.NotFound)(c)
		case errors.Is(err, echo.ErrMethodNotAllowed):
			err = handle(d.WrongMethod)(c)
		}
		core.WriteError(c.Response(), c.Request(), err)
	}
	get := func(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) {
		e.Match([]string{http.MethodGet, http.MethodHead}, path, h, m...)
	}
	e.Use(middleware.RequestLoggerWithConfig(middleware.RequestLoggerConfig{
		LogMethod: true, LogURIPath: true, LogStatus: true, LogLatency: true, // and not LogURI: the callback's query holds a code
		HandleError: true,
		LogValuesFunc: func(c echo.Context, v middleware.RequestLoggerValues) error {
			demo.LogRequest(d.Log, v.Method, v.URIPath, v.Status, v.Latency)
			return nil
		},
	}))
	get("/healthz", handle(d.Health))

	e.Use(except("/healthz", echomw.Middleware(d.Auth)))
	echomw.Mount(e, d.Auth)
	get("/", handle(d.Home))
	get("/me", handle(d.Me), signedIn)
	get("/whoami", handle(d.WhoAmI), signedIn)
	get("/verify", handle(d.Verify), signedIn)
	get("/slow", handle(d.Slow), signedIn)
	get("/sessions", handle(d.Sessions), signedIn)
	e.Any("/sessions/end", handle(d.EndSessions))
	return e
}

// except leaves a route out of a middleware, by what the router has matched.
func except(route string, m echo.MiddlewareFunc) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		with := m(next)
		return func(c echo.Context) error {
			if c.Path() == route {
				return next(c)
			}
			return with(c)
		}
	}
}
