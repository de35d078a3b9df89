package ginmw_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/adaptertest"
	"github.com/mxmconnect/mxmconnect/ginmw"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	goleak.VerifyTestMain(m)
}

func TestAdapter(t *testing.T) {
	adaptertest.Run(t, func(app adaptertest.App) http.Handler { return build(gin.New(), app) })
}

// The setup is the one of the package's documentation.
func TestLogging(t *testing.T) {
	gin.SetMode(gin.DebugMode)
	gin.DefaultWriter = io.Discard
	defer gin.SetMode(gin.ReleaseMode)
	adaptertest.RunLogging(t, func(app adaptertest.App, log io.Writer) http.Handler {
		r := gin.New()
		r.Use(gin.LoggerWithConfig(gin.LoggerConfig{Output: log, Formatter: func(p gin.LogFormatterParams) string {
			return fmt.Sprintln(p.StatusCode, p.Method, p.Request.URL.Path, p.Latency)
		}}))
		r.Use(gin.CustomRecoveryWithWriter(nil, func(c *gin.Context, p any) {
			fmt.Fprintln(log, "panic", p)
			c.AbortWithStatus(http.StatusInternalServerError)
		}))
		return build(r, app)
	})
}

func BenchmarkGin(b *testing.B) {
	adaptertest.Benchmark(b, func(app adaptertest.App) http.Handler { return build(gin.New(), app) })
}

func build(r *gin.Engine, app adaptertest.App) http.Handler {
	if app.Middleware {
		r.Use(ginmw.Middleware(app.Auth))
		if app.Second != nil {
			r.Use(ginmw.Middleware(app.Second))
		}
	}
	if app.RequireUser {
		r.Use(ginmw.RequireUser(app.Auth))
	}
	ginmw.Mount(r, app.Auth)
	if app.Second != nil {
		ginmw.Mount(r, app.Second)
	}
	r.Any(app.WhoAmI, func(c *gin.Context) { c.String(http.StatusOK, "%s", ginmw.UserID(c)) })
	for _, page := range app.Pages {
		handlers := []gin.HandlerFunc{func(c *gin.Context) {
			if err := page.Serve(c.Writer, c.Request); err != nil {
				_ = c.Error(err)
				core.WriteError(c.Writer, c.Request, err)
			}
		}}
		if page.RequireSecond {
			handlers = append([]gin.HandlerFunc{ginmw.RequireUser(app.Second)}, handlers...)
		}
		if page.RequireUser {
			handlers = append([]gin.HandlerFunc{ginmw.RequireUser(app.Auth)}, handlers...)
		}
		r.Any(page.Path, handlers...)
	}
	return r
}
