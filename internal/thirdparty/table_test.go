package thirdparty_test

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	gincors "github.com/gin-contrib/cors"
	gingzip "github.com/gin-contrib/gzip"
	"github.com/gin-contrib/requestid"
	ginsecure "github.com/gin-contrib/secure"
	"github.com/gin-gonic/gin"
	chimw "github.com/go-chi/chi/v5/middleware"
	"github.com/go-chi/httprate"
	"github.com/gorilla/handlers"
	"github.com/klauspost/compress/gzhttp"
	echo4 "github.com/labstack/echo/v4"
	echo4mw "github.com/labstack/echo/v4/middleware"
	echo5 "github.com/labstack/echo/v5"
	echo5mw "github.com/labstack/echo/v5/middleware"
	"github.com/rs/cors"
	"github.com/stretchr/testify/require"
	"github.com/unrolled/secure"

	"github.com/mxmconnect/mxmconnect/core"
)

var write = flag.Bool("write", false, "write the table into docs/middleware.md")

const (
	document = "../../docs/middleware.md"
	spa      = "https://spa.example"
)

// row is one middleware. A framework's own is tried outside and inside the
// adapter's, one for http.Handler only outside everything.
type row[M any] struct {
	name    string
	own     M
	handler around
	form    csrf
}

var forHandlers = []row[around]{
	{name: "compression: klauspost gzhttp", own: func(h http.Handler) http.Handler { return gzhttp.GzipHandler(h) }},
	{name: "compression: chi Compress", own: chimw.Compress(5)},
	{name: "CORS: rs/cors", own: cors.New(cors.Options{AllowedOrigins: []string{spa}, AllowCredentials: true}).Handler},
	{name: "timeout: http.TimeoutHandler", own: timeoutHandler},
	{name: "timeout: chi Timeout", own: chimw.Timeout(5 * time.Second)},
	{name: "recovery: gorilla RecoveryHandler", own: handlers.RecoveryHandler(handlers.RecoveryLogger(log.New(io.Discard, "", 0)))},
	{name: "recovery: chi Recoverer", own: quietRecoverer},
	{name: "logger: chi RequestLogger", own: chimw.RequestLogger(&chimw.DefaultLogFormatter{Logger: log.New(io.Discard, "", 0)})},
	{name: "secure headers: unrolled/secure", own: secure.New(secure.Options{FrameDeny: true, ContentSecurityPolicy: "default-src 'self'"}).Handler},
	{name: "request ID: chi RequestID", own: chimw.RequestID},
	{name: "CSRF tokens: nosurf", own: withNosurf, form: nosurfField},
	{name: "CSRF tokens: gorilla/csrf", own: withGorillaCSRF, form: gorillaField},
	{name: "rate limit: httprate", own: httprate.LimitBy(1000, time.Minute, httprate.Key("*"))},
}

var forGin = []row[gin.HandlerFunc]{
	{name: "compression: gin-contrib/gzip", own: gingzip.Gzip(gingzip.DefaultCompression)},
	{name: "CORS: gin-contrib/cors", own: gincors.New(gincors.Config{
		AllowOrigins: []string{spa}, AllowMethods: []string{"GET", "POST"}, AllowCredentials: true,
	})},
	{name: "timeout: http.TimeoutHandler", handler: timeoutHandler},
	{name: "recovery: gin.Recovery", own: gin.RecoveryWithWriter(nil)},
	{name: "logger: gin.Logger", own: gin.LoggerWithWriter(io.Discard)},
	{name: "secure headers: gin-contrib/secure", own: ginsecure.New(ginsecure.Config{FrameDeny: true, ContentSecurityPolicy: "default-src 'self'"})},
	{name: "request ID: gin-contrib/requestid", own: requestid.New()},
	{name: "CSRF tokens: nosurf", handler: withNosurf, form: nosurfField},
	{name: "rate limit: httprate", handler: httprate.LimitBy(1000, time.Minute, httprate.Key("*"))},
}

var forEchoV4 = []row[echo4.MiddlewareFunc]{
	{name: "compression: Gzip", own: echo4mw.Gzip()},
	{name: "CORS: CORS", own: echo4mw.CORSWithConfig(echo4mw.CORSConfig{AllowOrigins: []string{spa}, AllowCredentials: true})},
	{name: "timeout: ContextTimeout", own: echo4mw.ContextTimeout(5 * time.Second)},
	{name: "timeout: http.TimeoutHandler", handler: timeoutHandler},
	{name: "recovery: Recover", own: echo4mw.RecoverWithConfig(echo4mw.RecoverConfig{DisablePrintStack: true})},
	{name: "logger: RequestLogger", own: echo4mw.RequestLoggerWithConfig(echo4mw.RequestLoggerConfig{
		LogURIPath: true, LogStatus: true, HandleError: true,
		LogValuesFunc: func(echo4.Context, echo4mw.RequestLoggerValues) error { return nil },
	})},
	{name: "secure headers: Secure", own: echo4mw.Secure()},
	{name: "request ID: RequestID", own: echo4mw.RequestID()},
	{name: "CSRF tokens: CSRF", own: echo4mw.CSRFWithConfig(echo4mw.CSRFConfig{TokenLookup: "form:_csrf"})},
	{name: "rate limit: RateLimiter", own: echo4mw.RateLimiter(echo4mw.NewRateLimiterMemoryStore(1000))},
}

var forEchoV5 = []row[echo5.MiddlewareFunc]{
	{name: "compression: Gzip", own: echo5mw.Gzip()},
	{name: "CORS: CORS", own: echo5mw.CORSWithConfig(echo5mw.CORSConfig{AllowOrigins: []string{spa}, AllowCredentials: true})},
	{name: "timeout: ContextTimeout", own: echo5mw.ContextTimeout(5 * time.Second)},
	{name: "timeout: http.TimeoutHandler", handler: timeoutHandler},
	{name: "recovery: Recover", own: echo5mw.Recover()},
	{name: "logger: RequestLogger", own: echo5mw.RequestLoggerWithConfig(echo5mw.RequestLoggerConfig{
		LogURIPath: true, LogStatus: true, HandleError: true,
		LogValuesFunc: func(*echo5.Context, echo5mw.RequestLoggerValues) error { return nil },
	})},
	{name: "secure headers: Secure", own: echo5mw.Secure()},
	{name: "request ID: RequestID", own: echo5mw.RequestID()},
	{name: "CSRF tokens: CSRF", own: echo5mw.CSRFWithConfig(echo5mw.CSRFConfig{TokenLookup: "form:_csrf"})},
	{name: "rate limit: RateLimiter", own: echo5mw.RateLimiter(echo5mw.NewRateLimiterMemoryStore(1000))},
}

func timeoutHandler(next http.Handler) http.Handler {
	return http.TimeoutHandler(next, 5*time.Second, "too slow")
}

func quietRecoverer(next http.Handler) http.Handler {
	recoverer := chimw.Recoverer(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { recoverer.ServeHTTP(w, chimw.WithLogEntry(r, quiet{})) })
}

// quiet is a chi log entry that prints nothing.
type quiet struct{}

func (quiet) Write(int, int, http.Header, time.Duration, any) {}
func (quiet) Panic(any, []byte)                               {}

// TestMiddleware visits every application with and without the adapter. What
// works without it works with it, and the table says what does not work anyway.
func TestMiddleware(t *testing.T) {
	tables := make([]string, 5)
	t.Run("each", func(t *testing.T) {
		try(t, "net/http", forHandlers, same, serveMux, &tables[0])
		try(t, "chi", forHandlers, same, chiRouter, &tables[1])
		try(t, "Gin", forGin, func(*gin.Context) {}, ginEngine, &tables[2])
		try(t, "Echo v4", forEchoV4, func(next echo4.HandlerFunc) echo4.HandlerFunc { return next }, echoV4, &tables[3])
		try(t, "Echo v5", forEchoV5, func(next echo5.HandlerFunc) echo5.HandlerFunc { return next }, echoV5, &tables[4])
	})
	if t.Failed() {
		return
	}
	const begin, end = "<!-- table: begin -->\n", "<!-- table: end -->"
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	before, rest, found := strings.Cut(string(text), begin)
	require.True(t, found)
	table, after, found := strings.Cut(rest, end)
	require.True(t, found)
	got := strings.Join(tables, "")
	if *write {
		require.NoError(t, os.WriteFile(document, []byte(before+begin+got+end+after), 0o600))
		return
	}
	require.Equal(t, got, table, "go test ./internal/thirdparty -write")
}

// try fills table with one framework's rows.
func try[M any](t *testing.T, framework string, rows []row[M], none M, build func(*core.Auth, M, M, csrf) http.Handler, table *string) {
	t.Run(framework, func(t *testing.T) {
		t.Parallel()
		lines := make([]string, len(rows))
		t.Run("rows", func(t *testing.T) {
			for i, row := range rows {
				t.Run(row.name, func(t *testing.T) {
					t.Parallel()
					lines[i] = row.line(t, none, build)
				})
			}
		})
		*table = fmt.Sprintf("\n### %s\n\n| middleware | outside | inside |\n|---|---|---|\n%s", framework, strings.Join(lines, ""))
	})
}

func (row row[M]) line(t *testing.T, none M, build func(*core.Auth, M, M, csrf) http.Handler) string {
	cell := func(build func(*core.Auth) http.Handler) string {
		bare := failures(t, build, false)
		require.Equal(t, bare, failures(t, build, true), "with the adapter as without it")
		if bare == nil {
			return "works"
		}
		return "fails anyway: " + strings.Replace(strings.Join(bare, ", "), "WebSocket (coder), WebSocket (gorilla)", "WebSockets", 1)
	}
	if row.handler != nil {
		outside := cell(func(auth *core.Auth) http.Handler { return row.handler(build(auth, none, none, row.form)) })
		return fmt.Sprintf("| %s | %s | – |\n", row.name, outside)
	}
	outside := cell(func(auth *core.Auth) http.Handler { return build(auth, row.own, none, row.form) })
	inside := cell(func(auth *core.Auth) http.Handler { return build(auth, none, row.own, row.form) })
	return fmt.Sprintf("| %s | %s | %s |\n", row.name, outside, inside)
}
