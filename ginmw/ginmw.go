// Package ginmw signs users in with Musixmatch in applications on Gin.
//
// Gin's logger prints queries, and the callback's query contains a one-time code.
// Gin's recovery prints cookies: always in debug mode, and in any mode after a
// broken connection. Set them up like this:
//
//	r := gin.New()
//	r.Use(gin.LoggerWithFormatter(func(p gin.LogFormatterParams) string {
//		return fmt.Sprintln(p.StatusCode, p.Method, p.Request.URL.Path, p.Latency)
//	}))
//	r.Use(gin.CustomRecoveryWithWriter(nil, func(c *gin.Context, p any) {
//		slog.Error("panic", "error", p, "stack", string(debug.Stack()))
//		c.AbortWithStatus(http.StatusInternalServerError)
//	}))
//
// Since 1.12, Gin's own format can stay: set SkipQueryString of gin.LoggerConfig.
//
// A handler answers an error of [core.Auth.Client] with that error's status and a
// page or JSON by one line:
//
//	core.WriteError(c.Writer, c.Request, err)
package ginmw

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/mxmconnect/mxmconnect/core"
)

// Mount adds the routes of core: login, callback, logout and disconnect; in
// connect mode connect, callback and disconnect. Their paths come from
// core.Config. If r is a group, Mount removes the group's prefix from each path,
// and panics if a route is not below the group.
func Mount(r gin.IRouter, auth *core.Auth) {
	prefix := ""
	if group, ok := r.(interface{ BasePath() string }); ok {
		prefix = strings.TrimSuffix(group.BasePath(), "/")
	}
	for _, route := range auth.Routes() {
		path, ok := strings.CutPrefix(route.Path, prefix+"/")
		if !ok {
			panic("ginmw: the route " + route.Path + " is not below the group " + prefix)
		}
		r.Any("/"+path, func(c *gin.Context) {
			if err := route.Serve(c.Writer, c.Request); err != nil {
				render(auth, c, err)
			}
		})
		// Without this route Gin redirects permanently, and repeats the callback's query in the URL.
		r.Any("/"+path+"/", func(c *gin.Context) { render(auth, c, errNotFound) })
	}
}

// Middleware puts the session and the user ID into the request's context, and
// saves the session before the first byte of the answer.
func Middleware(auth *core.Auth) gin.HandlerFunc {
	auth.Routes() // panics now if auth cannot serve requests
	return func(c *gin.Context) {
		wrap(auth, c, c.Next)
	}
}

// RequireUser lets only signed-in users through, and UserID behind it is auth's
// user. It redirects everybody else to the login if the browser navigates, and
// answers with an error otherwise. It works without Middleware. Around a whole
// site it serves the routes of auth itself.
func RequireUser(auth *core.Auth) gin.HandlerFunc {
	auth.Routes() // panics now if auth cannot serve requests
	return func(c *gin.Context) {
		wrap(auth, c, func() {
			admitted, err := auth.Admit(c.Writer, c.Request)
			if admitted != nil {
				c.Request = admitted
				c.Next()
				return
			}
			c.Abort()
			if err != nil {
				render(auth, c, err)
			}
		})
	}
}

// UserID returns the Musixmatch user ID of the signed-in user, or "".
func UserID(c *gin.Context) string {
	return core.UserID(c.Request.Context())
}

var errNotFound = &core.Error{Op: "route", Code: "not_found", Description: "there is no such page", Status: http.StatusNotFound}

func render(auth *core.Auth, c *gin.Context, err error) {
	_ = c.Error(err)
	c.Abort()
	if !auth.HandleError(c.Writer, c.Request, err) {
		core.WriteError(c.Writer, c.Request, err)
	}
}

// wrap runs next while c has core's writer and request.
func wrap(auth *core.Auth, c *gin.Context, next func()) {
	outer := c.Writer
	defer func() { c.Writer = outer }()
	auth.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.Request = r
		if w != http.ResponseWriter(outer) { // equal if an outer Middleware runs already
			c.Writer = &writer{ResponseWriter: outer, saving: w}
		}
		next()
	})).ServeHTTP(outer, c.Request)
}
