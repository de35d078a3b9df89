// Package ginmw signs users in with Musixmatch in applications on Gin.
//
// Gin's logger prints queries, and the callback's query holds a one-time code.
// Gin's recovery prints cookies: always in debug mode, and in any mode after a
// broken connection. This is how neither does:
//
//	r := gin.New()
//	r.Use(gin.LoggerWithConfig(gin.LoggerConfig{SkipQueryString: true}))
//	r.Use(gin.CustomRecoveryWithWriter(nil, func(c *gin.Context, p any) {
//		slog.Error("panic", "error", p, "stack", string(debug.Stack()))
//		c.AbortWithStatus(http.StatusInternalServerError)
//	}))
package ginmw

import (
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
	"github.com/mxmconnect/mxmconnect/core"
)

// Mount adds the routes of the mode: login, callback, logout and disconnect,
// or, in connect mode, connect, callback and disconnect. Paths are those of
// core.Config; on a group, the group's prefix is taken off, and Mount panics if
// a route is not below it.
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
		// Gin would redirect here, with the callback's query, and let browsers remember it.
		r.Any("/"+path+"/", func(c *gin.Context) { render(auth, c, errNotFound) })
	}
}

// Middleware puts the session and the user ID into the request's context, and
// saves the session before the first byte of the answer.
func Middleware(auth *core.Auth) gin.HandlerFunc {
	return func(c *gin.Context) {
		wrap(auth, c, c.Next)
	}
}

// RequireUser lets only signed-in users through. Others are sent to the login
// if they navigate, and get an error otherwise. It works without Middleware.
func RequireUser(auth *core.Auth) gin.HandlerFunc {
	return func(c *gin.Context) {
		wrap(auth, c, func() {
			if UserID(c) != "" {
				c.Next()
				return
			}
			c.Abort()
			if err := auth.Challenge(c.Writer, c.Request); err != nil {
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

// wrap runs next with core's writer and request in c.
func wrap(auth *core.Auth, c *gin.Context, next func()) {
	outer := c.Writer
	defer func() { c.Writer = outer }()
	auth.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.Request = r
		if w != http.ResponseWriter(outer) { // or else an outer Middleware is at work
			c.Writer = &writer{ResponseWriter: outer, saving: w}
		}
		next()
	})).ServeHTTP(outer, c.Request)
}
