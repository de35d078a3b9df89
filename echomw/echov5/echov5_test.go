package echov5_test

import (
	"net/http"
	"testing"

	"github.com/labstack/echo/v5"
	"github.com/mxmconnect/mxmconnect/core/adaptertest"
	"github.com/mxmconnect/mxmconnect/echomw/echov5"
)

func TestAdapter(t *testing.T) { adaptertest.Run(t, build) }

func build(app adaptertest.App) http.Handler {
	e := echo.New()
	if app.Middleware {
		e.Use(echov5.Middleware(app.Auth))
	}
	echov5.Mount(e, app.Auth)
	e.Any(app.WhoAmI, func(c *echo.Context) error { return c.String(http.StatusOK, echov5.UserID(c)) })
	for _, page := range app.Pages {
		var around []echo.MiddlewareFunc
		if page.RequireUser {
			around = append(around, echov5.RequireUser(app.Auth))
		}
		e.Any(page.Path, func(c *echo.Context) error { return page.Serve(c.Response(), c.Request()) }, around...)
	}
	return e
}
