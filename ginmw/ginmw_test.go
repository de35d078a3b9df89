package ginmw_test

import (
	"net/http"
	"os"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/adaptertest"
	"github.com/mxmconnect/mxmconnect/ginmw"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	os.Exit(m.Run())
}

func TestAdapter(t *testing.T) { adaptertest.Run(t, build) }

func build(app adaptertest.App) http.Handler {
	r := gin.New()
	if app.Middleware {
		r.Use(ginmw.Middleware(app.Auth))
	}
	ginmw.Mount(r, app.Auth)
	r.Any(app.WhoAmI, func(c *gin.Context) { c.String(http.StatusOK, "%s", ginmw.UserID(c)) })
	for _, page := range app.Pages {
		handlers := []gin.HandlerFunc{func(c *gin.Context) {
			if err := page.Serve(c.Writer, c.Request); err != nil {
				_ = c.Error(err)
				core.WriteError(c.Writer, c.Request, err)
			}
		}}
		if page.RequireUser {
			handlers = append([]gin.HandlerFunc{ginmw.RequireUser(app.Auth)}, handlers...)
		}
		r.Any(page.Path, handlers...)
	}
	return r
}
