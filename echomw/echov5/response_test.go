package echov5_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/labstack/echo/v5"
	"github.com/labstack/echo/v5/middleware"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/echomw/echov5"
	"github.com/stretchr/testify/require"
)

// brokenStore is a session store that cannot write.
type brokenStore struct{ *core.Memory }

func (brokenStore) CommitCtx(context.Context, string, []byte, time.Time) error {
	return errors.New("down")
}

func newAuth(t *testing.T, store scs.CtxStore) (*core.Auth, *scs.SessionManager) {
	t.Helper()
	sessions := core.NewSessions(store)
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

func response(c *echo.Context) *echo.Response {
	r, err := echo.UnwrapResponse(c.Response())
	if err != nil {
		panic(err)
	}
	return r
}

// Each of Echo's ways to answer is run bare and behind the middleware: the
// answer and what a logger outside sees are the same, plus one cookie.
func TestEchoWays(t *testing.T) {
	ways := map[string]echo.HandlerFunc{
		"String":    func(c *echo.Context) error { return c.String(http.StatusAccepted, "body") },
		"JSON":      func(c *echo.Context) error { return c.JSON(http.StatusOK, map[string]any{"a": 1}) },
		"Blob":      func(c *echo.Context) error { return c.Blob(http.StatusOK, "text/plain", []byte("body")) },
		"Stream":    func(c *echo.Context) error { return c.Stream(http.StatusOK, "text/plain", strings.NewReader("body")) },
		"NoContent": func(c *echo.Context) error { return c.NoContent(http.StatusNoContent) },
		"Redirect":  func(c *echo.Context) error { return c.Redirect(http.StatusFound, "/elsewhere") },
		"File":      func(c *echo.Context) error { return c.File("echov5.go") },
		"Flush": func(c *echo.Context) error {
			err := http.NewResponseController(c.Response()).Flush()
			_, writeErr := c.Response().Write([]byte("body"))
			return errors.Join(err, writeErr)
		},
		"nothing":      func(*echo.Context) error { return nil },
		"an error":     func(*echo.Context) error { return errors.New("a mistake") },
		"an HTTPError": func(*echo.Context) error { return echo.NewHTTPError(http.StatusTeapot, "short") },
		"NotFound":     func(*echo.Context) error { return echo.ErrNotFound },
		"an error, handed": func(c *echo.Context) error {
			c.Echo().HTTPErrorHandler(c, echo.NewHTTPError(http.StatusTeapot, "short"))
			return nil
		},
		"an error after": func(c *echo.Context) error { _ = c.String(http.StatusOK, "body"); return errors.New("a mistake") },
		"panic":          func(*echo.Context) error { panic("a mistake") },
		"panic after":    func(c *echo.Context) error { _ = c.String(http.StatusOK, "body"); panic("a mistake") },
		"http.Error":     func(c *echo.Context) error { http.Error(c.Response(), "no", http.StatusBadRequest); return nil },
		"Before and After": func(c *echo.Context) error {
			response(c).Before(func() { c.Response().Header().Set("X-Before", "yes") })
			response(c).After(func() { c.Response().Header().Set("X-After", "yes") })
			return c.String(http.StatusOK, "body")
		},
		"Before and an error": func(c *echo.Context) error {
			response(c).Before(func() { c.Response().Header().Set("X-Before", "yes") })
			return echo.NewHTTPError(http.StatusTeapot, "short")
		},
	}
	for name, way := range ways {
		t.Run(""+name, func(t *testing.T) {
			type seen struct {
				status    int
				size      int64
				committed bool
				err       string
				rendered  int
			}
			run := func(behind bool, inside ...echo.MiddlewareFunc) (*http.Response, string, seen) {
				auth, sessions := newAuth(t, core.NewMemory())
				var s seen
				e := echo.New()
				e.Logger = slog.New(slog.DiscardHandler)
				e.HTTPErrorHandler = func(c *echo.Context, err error) {
					s.rendered++
					s.err = err.Error()
					echo.DefaultHTTPErrorHandler(false)(c, err)
				}
				e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
					return func(c *echo.Context) error {
						before := c.Response()
						err := next(c)
						require.Same(t, before, c.Response(), "the response is not put back")
						if err != nil {
							c.Echo().HTTPErrorHandler(c, err)
						}
						s.status, s.size, s.committed = response(c).Status, response(c).Size, response(c).Committed
						return nil
					}
				})
				if len(inside) == 0 {
					e.Use(middleware.RecoverWithConfig(middleware.RecoverConfig{DisablePrintStack: true}))
				}
				if behind {
					e.Use(echov5.Middleware(auth))
				}
				e.Use(inside...)
				e.GET("/", func(c *echo.Context) error {
					if behind {
						sessions.Put(c.Request().Context(), "k", "v")
					}
					return way(c)
				})
				res, body := serve(t, e, http.MethodGet, "/", nil)
				return res, body, s
			}
			bare, bareBody, bareSeen := run(false)
			for what, inside := range map[string][]echo.MiddlewareFunc{
				"alone": nil, "Recover inside": {middleware.RecoverWithConfig(middleware.RecoverConfig{DisablePrintStack: true})}, "Gzip inside": {middleware.Gzip(), middleware.RecoverWithConfig(middleware.RecoverConfig{DisablePrintStack: true})},
			} {
				res, body, s := run(true, inside...)
				require.Equal(t, bare.StatusCode, res.StatusCode, what)
				require.Equal(t, bareBody, body, what)
				if what != "Gzip inside" { // it compresses, and answers where nothing was answered
					require.Equal(t, bareSeen, s, "%s: what a logger sees", what)
					for name, values := range bare.Header {
						if name != "Date" && name != "Cache-Control" {
							require.Equal(t, values, res.Header[name], name)
						}
					}
				}
				require.Len(t, res.Cookies(), 1, what)
			}
		})
	}
}

func TestEchoErrors(t *testing.T) {
	auth, _ := newAuth(t, core.NewMemory())
	var got []error
	e := echo.New()
	e.HTTPErrorHandler = func(c *echo.Context, err error) {
		got = append(got, err)
		echo.DefaultHTTPErrorHandler(false)(c, err)
	}
	e.Use(echov5.Middleware(auth))
	echov5.Mount(e, auth)
	e.GET("/me", func(*echo.Context) error { panic("unreachable") }, echov5.RequireUser(auth))
	lost := fmt.Errorf("load the lyrics: %w", core.ErrReconnect)
	other := errors.New("a mistake")
	e.GET("/other", func(*echo.Context) error { return other })
	e.GET("/lost", func(*echo.Context) error { return lost })
	e.GET("/lost/inside", func(*echo.Context) error { return lost }, echov5.Middleware(auth))
	e.GET("/lost/internal", func(*echo.Context) error { return echo.NewHTTPError(http.StatusTeapot, "x").Wrap(core.ErrReconnect) })

	for _, c := range []struct {
		method, path string
		want         *core.Error
	}{
		{http.MethodGet, "/lost", core.ErrReconnect},
		{http.MethodGet, "/lost/inside", core.ErrReconnect},
		{http.MethodGet, "/lost/internal", core.ErrReconnect},
		{http.MethodGet, "/me", core.ErrNotSignedIn},
		{http.MethodGet, "/auth/musixmatch/callback", core.ErrBadRequest},
		{http.MethodGet, "/auth/musixmatch/callback?code=x&state=y", core.ErrState},
		{http.MethodPost, "/auth/musixmatch/login", core.ErrMethod},
	} {
		t.Run(c.path+" "+c.want.Code, func(t *testing.T) {
			got = nil
			res, body := serve(t, e, c.method, c.path, nil)
			require.Equal(t, c.want.Status, res.StatusCode)
			require.JSONEq(t, `{"message":"`+c.want.Code+`"}`, body)
			require.Len(t, got, 1)
			var central *echo.HTTPError
			require.ErrorAs(t, got[0], &central)
			require.Equal(t, c.want.Status, central.StatusCode())
			require.ErrorIs(t, central.Unwrap(), c.want)
			if strings.HasPrefix(c.path, "/lost") && c.path != "/lost/internal" {
				require.ErrorIs(t, got[0], lost, "nothing of the cause is lost")
			}
		})
	}
	t.Run("any other error stays as it is", func(t *testing.T) {
		got = nil
		_, _ = serve(t, e, http.MethodGet, "/other", nil)
		require.Equal(t, []error{other}, got)
	})
	t.Run("a redirect is no error", func(t *testing.T) {
		got = nil
		res, _ := serve(t, e, http.MethodGet, "/me", http.Header{"Accept": {"text/html"}})
		require.Equal(t, http.StatusSeeOther, res.StatusCode)
		require.Empty(t, got)
	})
}

func TestSaveFails(t *testing.T) {
	for name, answer := range map[string]echo.HandlerFunc{
		"writes":  func(c *echo.Context) error { return c.String(http.StatusOK, "PROTECTED") },
		"fails":   func(*echo.Context) error { return errors.New("PROTECTED") },
		"nothing": func(*echo.Context) error { return nil },
	} {
		t.Run(""+name+": Echo knows that core has answered", func(t *testing.T) {
			auth, sessions := newAuth(t, brokenStore{core.NewMemory()})
			e := echo.New()
			var status int
			var committed bool
			e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
				return func(c *echo.Context) error {
					err := next(c)
					status, committed = response(c).Status, response(c).Committed
					return err
				}
			}, echov5.Middleware(auth))
			e.GET("/", func(c *echo.Context) error {
				sessions.Put(c.Request().Context(), "k", "v")
				return answer(c)
			})
			res, body := serve(t, e, http.MethodGet, "/", nil)
			require.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
			require.Equal(t, "{\"error\":\"unavailable\"}\n", body)
			require.Equal(t, http.StatusServiceUnavailable, status)
			require.True(t, committed)
		})
	}
}

// Echo v5 can answer HEAD by running a GET handler and counting its bytes.
func TestAutomaticHead(t *testing.T) {
	auth, sessions := newAuth(t, core.NewMemory())
	e := echo.NewWithConfig(echo.Config{Router: echo.NewRouter(echo.RouterConfig{AutoHandleHEAD: true})})
	e.Use(echov5.Middleware(auth))
	e.GET("/", func(c *echo.Context) error {
		sessions.Put(c.Request().Context(), "k", "v")
		return c.String(http.StatusOK, "body")
	})
	e.GET("/me", func(*echo.Context) error { panic("unreachable") }, echov5.RequireUser(auth))
	res, _ := serve(t, e, http.MethodHead, "/", nil)
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Equal(t, int64(4), res.ContentLength)
	require.Len(t, res.Cookies(), 1)
	res, _ = serve(t, e, http.MethodHead, "/me", nil)
	require.Equal(t, http.StatusUnauthorized, res.StatusCode)
}

func TestGroups(t *testing.T) {
	for _, prefix := range []string{"", "/", "/auth", "/auth/", "/auth/musixmatch"} {
		t.Run("group "+prefix, func(t *testing.T) {
			auth, _ := newAuth(t, core.NewMemory())
			e := echo.New()
			ran := false
			group := e.Group(prefix, func(next echo.HandlerFunc) echo.HandlerFunc {
				return func(c *echo.Context) error { ran = true; return next(c) }
			})
			echov5.Mount(group, auth)
			res, _ := serve(t, e, http.MethodGet, "/auth/musixmatch/login", nil)
			require.Equal(t, http.StatusSeeOther, res.StatusCode)
			require.True(t, ran, "the group's middleware")
			for _, path := range []string{prefix + "/auth/musixmatch/nothing", "/auth/auth/musixmatch/login"} {
				res, _ = serve(t, e, http.MethodGet, path, nil)
				require.Equal(t, http.StatusNotFound, res.StatusCode, path)
			}
		})
	}
	t.Run("a group that the routes are not below", func(t *testing.T) {
		auth, _ := newAuth(t, core.NewMemory())
		for _, prefix := range []string{"/api", "/auth/musixmatch/x"} {
			require.PanicsWithValue(t, "echov5: the route /auth/musixmatch/login is not below the group "+prefix,
				func() { echov5.Mount(echo.New().Group(prefix), auth) })
		}
	})
	t.Run("routes outside the middleware's group do without it", func(t *testing.T) {
		auth, sessions := newAuth(t, core.NewMemory())
		e := echo.New()
		e.GET("/healthz", func(c *echo.Context) error { return c.String(http.StatusOK, "ok") })
		app := e.Group("", echov5.Middleware(auth))
		app.GET("/app", func(c *echo.Context) error {
			sessions.Put(c.Request().Context(), "k", "v")
			return c.String(http.StatusOK, "app")
		})
		res, _ := serve(t, e, http.MethodGet, "/healthz", nil)
		require.Empty(t, res.Header["Vary"])
		res, _ = serve(t, e, http.MethodGet, "/app", nil)
		require.Len(t, res.Cookies(), 1)
	})
}

func TestNilAuth(t *testing.T) {
	for _, f := range []func(){
		func() { echov5.Mount(echo.New(), nil) }, func() { echov5.Middleware(nil) }, func() { echov5.RequireUser(nil) },
	} {
		require.PanicsWithValue(t, "musixmatch: the Auth is nil; look at the error of core.New", f)
	}
}
