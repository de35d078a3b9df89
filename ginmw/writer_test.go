package ginmw_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/alexedwards/scs/v2"
	"github.com/gin-gonic/gin"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/ginmw"
	"github.com/stretchr/testify/require"
)

func newAuth(t *testing.T) (*core.Auth, *scs.SessionManager) {
	t.Helper()
	sessions := core.NewSessions(core.NewMemory())
	auth, err := core.New(core.Config{
		ClientID: "client", ClientSecret: "secret", RedirectURL: "http://127.0.0.1/auth/musixmatch/callback",
		Sessions: sessions, Keys: [][]byte{[]byte("0123456789abcdefghijklmnopqrstuv")},
	})
	require.NoError(t, err)
	return auth, sessions
}

func serve(t *testing.T, h http.Handler, method, path string, header http.Header) (*http.Response, string) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	r, err := http.NewRequest(method, srv.URL+path, nil)
	require.NoError(t, err)
	for name, values := range header {
		r.Header[name] = values
	}
	client := srv.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := client.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res, string(body)
}

// Each of Gin's ways to answer is run bare and behind the middleware: the
// answer and what a logger outside sees are the same, plus one cookie.
func TestGinWays(t *testing.T) {
	ways := map[string]gin.HandlerFunc{
		"Status":              func(c *gin.Context) { c.Status(http.StatusNoContent) },
		"Status and body":     func(c *gin.Context) { c.Status(http.StatusCreated); _, _ = c.Writer.WriteString("body") },
		"String":              func(c *gin.Context) { c.String(http.StatusAccepted, "body") },
		"JSON":                func(c *gin.Context) { c.JSON(http.StatusOK, gin.H{"a": 1}) },
		"Data":                func(c *gin.Context) { c.Data(http.StatusOK, "text/plain", []byte("body")) },
		"DataFromReader":      func(c *gin.Context) { c.DataFromReader(http.StatusOK, 4, "text/plain", strings.NewReader("body"), nil) },
		"Redirect":            func(c *gin.Context) { c.Redirect(http.StatusFound, "/elsewhere") },
		"Abort":               func(c *gin.Context) { c.Abort() },
		"AbortWithStatus":     func(c *gin.Context) { c.AbortWithStatus(http.StatusForbidden) },
		"AbortWithStatusJSON": func(c *gin.Context) { c.AbortWithStatusJSON(http.StatusForbidden, gin.H{"a": 1}) },
		"AbortWithError":      func(c *gin.Context) { _ = c.AbortWithError(http.StatusTeapot, errors.New("x")) },
		"File":                func(c *gin.Context) { c.File("ginmw.go") },
		"SSEvent":             func(c *gin.Context) { c.SSEvent("message", "body"); c.Writer.Flush() },
		"Stream": func(c *gin.Context) {
			left := 3
			c.Stream(func(w io.Writer) bool { left--; _, _ = io.WriteString(w, "x"); return left > 0 })
		},
		"Flush":          func(c *gin.Context) { c.Writer.Flush(); _, _ = c.Writer.Write([]byte("body")) },
		"WriteHeaderNow": func(c *gin.Context) { c.Status(http.StatusTeapot); c.Writer.WriteHeaderNow() },
		"status twice":   func(c *gin.Context) { c.Status(http.StatusTeapot); c.Status(http.StatusCreated) },
		"http.Error":     func(c *gin.Context) { http.Error(c.Writer, "no", http.StatusBadRequest) },
		"nothing":        func(*gin.Context) {},
		"panic":          func(*gin.Context) { panic("a mistake") },
		"panic after":    func(c *gin.Context) { c.String(http.StatusOK, "body"); panic("a mistake") },
		"wrapped": func(c *gin.Context) {
			inner := c.Writer
			c.Writer = &upper{inner}
			c.String(http.StatusOK, "body")
			c.Writer = inner
		},
	}
	for name, way := range ways {
		t.Run(""+name, func(t *testing.T) {
			type seen struct {
				status, size int
				written      bool
				errors       int
			}
			run := func(behind bool, recoveryInside bool) (*http.Response, string, seen) {
				auth, sessions := newAuth(t)
				var s seen
				r := gin.New()
				r.Use(func(c *gin.Context) {
					before := c.Writer
					c.Next()
					require.Same(t, before, c.Writer, "c.Writer is not put back")
					s = seen{c.Writer.Status(), c.Writer.Size(), c.Writer.Written(), len(c.Errors)}
				})
				recovery := gin.CustomRecoveryWithWriter(nil, func(c *gin.Context, _ any) { c.AbortWithStatus(http.StatusInternalServerError) })
				if !recoveryInside {
					r.Use(recovery)
				}
				if behind {
					r.Use(ginmw.Middleware(auth))
				}
				if recoveryInside {
					r.Use(recovery)
				}
				r.GET("/", func(c *gin.Context) {
					if behind {
						sessions.Put(c.Request.Context(), "k", "v")
					}
					way(c)
				})
				res, body := serve(t, r, http.MethodGet, "/", nil)
				return res, body, s
			}
			bare, bareBody, bareSeen := run(false, false)
			for _, recoveryInside := range []bool{false, true} {
				res, body, s := run(true, recoveryInside)
				require.Equal(t, bare.StatusCode, res.StatusCode)
				require.Equal(t, bareBody, body)
				require.Equal(t, bareSeen, s, "what a logger sees")
				require.Len(t, res.Cookies(), 1)
				for name, values := range bare.Header {
					if name != "Date" && name != "Cache-Control" {
						require.Equal(t, values, res.Header[name], name)
					}
				}
			}
		})
	}
}

type upper struct{ gin.ResponseWriter }

func (u *upper) WriteString(s string) (int, error) { return u.Write([]byte(s)) }
func (u *upper) Write(b []byte) (int, error) {
	return u.ResponseWriter.Write([]byte(strings.ToUpper(string(b))))
}

func TestGinHijackAndNotify(t *testing.T) {
	auth, sessions := newAuth(t)
	r := gin.New()
	r.Use(ginmw.Middleware(auth))
	gone := make(chan bool, 1)
	r.GET("/notify", func(c *gin.Context) {
		require.NotNil(t, c.Writer.CloseNotify())
		require.Nil(t, c.Writer.Pusher())
		c.Status(http.StatusOK)
		c.Writer.Flush()
		<-c.Request.Context().Done()
		gone <- true
	})
	r.GET("/hijack", func(c *gin.Context) {
		sessions.Put(c.Request.Context(), "k", "v")
		conn, rw, err := c.Writer.Hijack()
		require.NoError(t, err)
		require.True(t, c.Writer.Written())
		// Gin cannot set the cookie of a connection that is not its own any more;
		// the handler can, since the session has been saved.
		fmt.Fprintf(rw, "HTTP/1.1 200 OK\r\nSet-Cookie: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", c.Writer.Header().Get("Set-Cookie"))
		_ = rw.Flush()
		_ = conn.Close()
	})
	res, _ := serve(t, r, http.MethodGet, "/hijack", nil)
	require.Len(t, res.Cookies(), 1)

	srv := httptest.NewServer(r)
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	fmt.Fprint(conn, "GET /notify HTTP/1.1\r\nHost: x\r\n\r\n")
	_, err = bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.True(t, <-gone)
}

func TestGinRefusals(t *testing.T) {
	auth, _ := newAuth(t)
	var got []*gin.Error
	var user, path string
	aborted, after := false, false
	r := gin.New()
	r.Use(func(c *gin.Context) {
		c.Next()
		got, user, path, aborted = c.Errors, ginmw.UserID(c), c.FullPath(), c.IsAborted()
	})
	ginmw.Mount(r, auth)
	r.GET("/me", ginmw.RequireUser(auth), func(*gin.Context) { after = true })

	t.Run("a refusal aborts and is in c.Errors with its status", func(t *testing.T) {
		res, body := serve(t, r, http.MethodGet, "/me", nil)
		require.Equal(t, http.StatusUnauthorized, res.StatusCode)
		require.Equal(t, "{\"error\":\"not_signed_in\",\"login_url\":\"/auth/musixmatch/login\"}\n", body)
		require.Len(t, got, 1)
		require.ErrorIs(t, got[0], core.ErrNotSignedIn)
		var status interface{ StatusCode() int }
		require.ErrorAs(t, got[0], &status)
		require.Equal(t, http.StatusUnauthorized, status.StatusCode())
		require.False(t, after)
		require.Empty(t, user)
		require.Equal(t, "/me", path)
		require.True(t, aborted)
	})
	t.Run("a route's error aborts, too", func(t *testing.T) {
		res, _ := serve(t, r, http.MethodGet, "/auth/musixmatch/callback", nil)
		require.Equal(t, http.StatusBadRequest, res.StatusCode)
		require.Len(t, got, 1)
		require.True(t, aborted)
	})
	t.Run("a redirect aborts and is no error", func(t *testing.T) {
		res, _ := serve(t, r, http.MethodGet, "/me", http.Header{"Accept": {"text/html"}})
		require.Equal(t, http.StatusSeeOther, res.StatusCode)
		require.Empty(t, got)
		require.False(t, after)
	})
	t.Run("a trailing slash is 404 for people and programs", func(t *testing.T) {
		res, body := serve(t, r, http.MethodGet, "/auth/musixmatch/callback/?code=x", nil)
		require.Equal(t, http.StatusNotFound, res.StatusCode)
		require.Equal(t, "{\"error\":\"not_found\"}\n", body)
	})
}

func TestGroups(t *testing.T) {
	for _, prefix := range []string{"/", "/auth", "/auth/", "/auth/musixmatch"} {
		t.Run("group "+prefix, func(t *testing.T) {
			auth, _ := newAuth(t)
			r := gin.New()
			ran := false
			group := r.Group(prefix, func(*gin.Context) { ran = true })
			ginmw.Mount(group, auth)
			res, _ := serve(t, r, http.MethodGet, "/auth/musixmatch/login", nil)
			require.Equal(t, http.StatusSeeOther, res.StatusCode)
			require.True(t, ran, "the group's middleware")
		})
	}
	t.Run("a group that the routes are not below", func(t *testing.T) {
		auth, _ := newAuth(t)
		for _, prefix := range []string{"/api", "/au", "/auth/musixmatch/login"} {
			require.PanicsWithValue(t, "ginmw: the route /auth/musixmatch/login is not below the group "+prefix,
				func() { ginmw.Mount(gin.New().Group(prefix), auth) })
		}
	})
}

func TestNilAuth(t *testing.T) {
	for _, f := range []func(){
		func() { ginmw.Mount(gin.New(), nil) }, func() { ginmw.Middleware(nil) }, func() { ginmw.RequireUser(nil) },
	} {
		require.PanicsWithValue(t, "musixmatch: the Auth is nil; look at the error of core.New", f)
	}
}
