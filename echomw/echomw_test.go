package echomw_test

import (
	"net/http"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/mxmconnect/mxmconnect/core/adaptertest"
	"github.com/mxmconnect/mxmconnect/echomw"
)

func TestAdapter(t *testing.T) { adaptertest.Run(t, build) }

func build(app adaptertest.App) http.Handler {
	e := echo.New()
	if app.Middleware {
		e.Use(echomw.Middleware(app.Auth))
	}
	echomw.Mount(e, app.Auth)
	e.Any(app.WhoAmI, func(c echo.Context) error { return c.String(http.StatusOK, echomw.UserID(c)) })
	for _, page := range app.Pages {
		var around []echo.MiddlewareFunc
		if page.RequireUser {
			around = append(around, echomw.RequireUser(app.Auth))
		}
		e.Any(page.Path, func(c echo.Context) error { return page.Serve(c.Response(), c.Request()) }, around...)
	}
	return e
}
