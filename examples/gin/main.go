// Command gin shows sign-in, sign-out, API calls and the loss of a grant on Gin.
// It runs offline. Set MXM_CLIENT_ID and MXM_CLIENT_SECRET to run it against Musixmatch.
package main

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/examples/internal/demo"
	"github.com/mxmconnect/mxmconnect/ginmw"
)

func main() { demo.Run(routes) }

func routes(d *demo.Demo) http.Handler {
	handle := func(h demo.Handler) gin.HandlerFunc {
		return func(c *gin.Context) {
			if err := h(c.Writer, c.Request, ginmw.UserID(c)); err != nil {
				core.WriteError(c.Writer, c.Request, err)
			}
		}
	}
	signedIn := ginmw.RequireUser(d.Auth)

	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.HandleMethodNotAllowed = true
	r.RedirectTrailingSlash = false // Gin's own redirect repeats the query, and is cached
	get := func(path string, handlers ...gin.HandlerFunc) {
		r.Match([]string{http.MethodGet, http.MethodHead}, path, handlers...)
	}
	r.Use(gin.LoggerWithConfig(gin.LoggerConfig{
		Formatter: func(p gin.LogFormatterParams) string {
			demo.LogRequest(d.Log, p.Method, p.Request.URL.Path, p.StatusCode, p.Latency) // p.Path has the query, and the callback's holds a code
			return ""
		},
	}))
	get("/healthz", handle(d.Health)) // before Middleware: it needs no session

	r.Use(ginmw.Middleware(d.Auth))
	ginmw.Mount(r, d.Auth)
	get("/", handle(d.Home))
	get("/me", signedIn, handle(d.Me))
	get("/whoami", signedIn, handle(d.WhoAmI))
	get("/verify", signedIn, handle(d.Verify))
	get("/slow", signedIn, handle(d.Slow))
	get("/sessions", signedIn, handle(d.Sessions))
	r.Any("/sessions/end", handle(d.EndSessions))
	r.NoRoute(handle(d.NotFound))
	r.NoMethod(handle(d.WrongMethod))
	return r
}
