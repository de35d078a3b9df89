// Package echomw signs users in with Musixmatch in applications on Echo v4.
// Its package echov5 is the same for Echo v5.
//
// An error of core becomes a page if the request accepts text/html. Otherwise it
// reaches the application's HTTPErrorHandler as an *echo.HTTPError. It has the
// status, the error code as its message, and the [core.Error] in its chain. A
// handler returns an error of [core.Auth.Client] as it is; Middleware does the
// same with it.
//
// The callback's query contains a one-time code, so let Echo's request logger
// print LogURIPath, not LogURI:
//
//	e.Use(middleware.RequestLoggerWithConfig(middleware.RequestLoggerConfig{
//		LogMethod: true, LogStatus: true, HandleError: true,
//		LogURIPath: true, // never LogURI
//		LogValuesFunc: func(c echo.Context, v middleware.RequestLoggerValues) error {
//			slog.Info("request", "method", v.Method, "path", v.URIPath, "status", v.Status)
//			return nil
//		},
//	}))
//
// In the Format of the older middleware.Logger, use ${path} instead of ${uri}.
package echomw

import (
	"errors"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/mxmconnect/mxmconnect/core"
)

// Router is what Mount adds routes to: *echo.Echo or *echo.Group.
type Router interface {
	Any(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) []*echo.Route
	RouteNotFound(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route
}

// Mount adds the routes of core: login, callback, logout and disconnect; in
// connect mode connect, callback and disconnect. Their paths come from
// core.Config. If r is a group, Mount removes the group's prefix from each path,
// and panics if a route is not below the group.
func Mount(r Router, auth *core.Auth) {
	prefix := prefixOf(r, auth.Routes()[0].Path)
	for _, route := range auth.Routes() {
		path, ok := strings.CutPrefix(route.Path, prefix)
		if !ok {
			panic("echomw: the route " + route.Path + " is not below the group " + prefix)
		}
		r.Any(path, func(c echo.Context) error {
			return render(auth, c, route.Serve(c.Response(), c.Request()))
		})
	}
}

// Middleware puts the session and the user ID into the request's context, and
// saves the session before the first byte of the answer.
func Middleware(auth *core.Auth) echo.MiddlewareFunc {
	auth.Routes() // panics now if auth cannot serve requests
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) (err error) {
			response := c.Response()
			outer := response.Writer
			defer func() { response.Writer = outer }() // before Echo renders err
			auth.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c.SetRequest(r)
				response.Writer = w
				err = next(c)
				if e := new(core.Error); errors.As(err, &e) && !c.Response().Committed {
					err = render(auth, c, err)
				}
			})).ServeHTTP(&writer{outer, response}, c.Request())
			return err
		}
	}
}

// RequireUser lets only signed-in users through, and UserID behind it is auth's
// user. It redirects everybody else to the login if the browser navigates, and
// answers with an error otherwise. It works without Middleware. Around a whole
// site it serves the routes of auth itself.
func RequireUser(auth *core.Auth) echo.MiddlewareFunc {
	session := Middleware(auth)
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return session(func(c echo.Context) error {
			admitted, err := auth.Admit(c.Response(), c.Request())
			if admitted == nil {
				return render(auth, c, err)
			}
			c.SetRequest(admitted)
			return next(c)
		})
	}
}

// UserID returns the Musixmatch user ID of the signed-in user, or "".
func UserID(c echo.Context) string {
	return core.UserID(c.Request().Context())
}

func render(auth *core.Auth, c echo.Context, err error) error {
	if err == nil || auth.HandleError(c.Response(), c.Request(), err) {
		return nil
	}
	var e *core.Error
	var rendered *echo.HTTPError
	switch {
	case !errors.As(err, &e):
		return err
	case strings.Contains(c.Request().Header.Get("Accept"), "text/html"):
		core.WriteError(c.Response(), c.Request(), err)
		return nil
	case errors.As(err, &rendered) && rendered.Code == e.Status:
		return err // by RequireUser inside Middleware
	case rendered != nil: // Echo would answer with its status
		err = e
	}
	return echo.NewHTTPError(e.StatusCode(), e.Code).SetInternal(err)
}

// prefixOf returns the prefix of a group. Echo reveals it only in the path of a
// route, so this adds a route that answers 404, as that path did before.
func prefixOf(r Router, path string) string {
	if _, root := r.(*echo.Echo); root {
		return ""
	}
	return strings.TrimSuffix(r.RouteNotFound(path, echo.NotFoundHandler).Path, path)
}

// writer tells Echo that core itself has answered.
type writer struct {
	http.ResponseWriter
	response *echo.Response
}

func (w *writer) WriteHeader(status int) {
	if status >= http.StatusOK {
		w.response.Status, w.response.Committed = status, true
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
