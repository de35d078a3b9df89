package newest

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/require"
)

// What package ginmw says of Gin since 1.12.
func TestGinSkipsTheQuery(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	var log bytes.Buffer
	r := gin.New()
	r.Use(gin.LoggerWithConfig(gin.LoggerConfig{SkipQueryString: true, Output: &log}))
	r.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/auth/musixmatch/callback?code=one-time", nil))
	require.Contains(t, log.String(), "/auth/musixmatch/callback")
	require.NotContains(t, log.String(), "one-time")
}
