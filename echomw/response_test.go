package echomw_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/echomw"
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

// Each of Echo's ways to answer is run bare and behind the middleware: the
// answer and what a logger outside sees are the same, plus one cookie.
func TestEchoWays(t *testing.T) {
	ways := map[string]echo.HandlerFunc{
		"String":    func(c echo.Context) error { return c.String(http.StatusAccepted, "body") },
		"JSON":      func(c echo.Context) error { return c.JSON(http.StatusOK, echo.Map{"a": 1}) },
		"Blob":      func(c echo.Context) error { return c.Blob(http.StatusOK, "text/plain", []byte("body")) },
		"Stream":    func(c echo.Context) error { return c.Stream(http.StatusOK, "text/plain", strings.NewReader("body")) },
		"NoContent": func(c echo.Context) error { return c.NoContent(http.StatusNoContent) },
		"Redirect":  func(c echo.Context) error { return c.Redirect(http.StatusFound, "/elsewhere") },
		"File":      func(c echo.Context) error { return c.File("echomw.go") },
		"Flush": func(c echo.Context) error {
			c.Response().Flush()
			_, err := c.Response().Write([]byte("body"))
			return err
		},
		"a hint": func(c echo.Context) error {
			c.Response().Writer.WriteHeader(http.StatusEarlyHints)
			return c.String(http.StatusCreated, "body")
		},
		"nothing":          func(echo.Context) error { return nil },
		"an error":         func(echo.Context) error { return errors.New("a mistake") },
		"an HTTPError":     func(echo.Context) error { return echo.NewHTTPError(http.StatusTeapot, "short") },
		"NotFound":         func(echo.Context) error { return echo.ErrNotFound },
		"an error, handed": func(c echo.Context) error { c.Error(echo.ErrTeapot); return nil },
		"an error after":   func(c echo.Context) error { _ = c.String(http.StatusOK, "body"); return errors.New("a mistake") },
		"panic":            func(echo.Context) error { panic("a mistake") },
		"panic after":      func(c echo.Context) error { _ = c.String(http.StatusOK, "body"); panic("a mistake") },
		"http.Error":       func(c echo.Context) error { http.Error(c.Response(), "no", http.StatusBadRequest); return nil },
		"Before and After": func(c echo.Context) error {
			c.Response().Before(func() { c.Response().Header().Set("X-Before", "yes") })
			c.Response().After(func() { c.Response().Header().Set("X-After", "yes") })
			return c.String(http.StatusOK, "body")
		},
		"Before and an error": func(c echo.Context) error {
			c.Response().Before(func() { c.Response().Header().Set("X-Before", "yes") })
			return echo.ErrTeapot
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
				e.Logger.SetOutput(io.Discard)
				e.HTTPErrorHandler = func(err error, c echo.Context) {
					s.rendered++
					s.err = err.Error()
					e.DefaultHTTPErrorHandler(err, c)
				}
				e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
					return func(c echo.Context) error {
						before, writer := c.Response(), c.Response().Writer
						err := next(c)
						require.Same(t, before, c.Response())
						require.Equal(t, writer, c.Response().Writer, "the writer is not put back")
						if err != nil {
							c.Error(err)
						}
						s.status, s.size, s.committed = c.Response().Status, c.Response().Size, c.Response().Committed
						return nil
					}
				})
				if len(inside) == 0 {
					e.Use(middleware.Recover())
				}
				if behind {
					e.Use(echomw.Middleware(auth))
				}
				e.Use(inside...)
				e.GET("/", func(c echo.Context) error {
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
				"alone": nil, "Recover inside": {middleware.Recover()}, "Gzip inside": {middleware.Gzip(), middleware.Recover()},
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
	e.HTTPErrorHandler = func(err error, c echo.Context) {
		got = append(got, err)
		e.DefaultHTTPErrorHandler(err, c)
	}
	e.Use(echomw.Middleware(auth))
	echomw.Mount(e, auth)
	e.GET("/me", func(echo.Context) error { panic("unreachable") }, echomw.RequireUser(auth))
	lost := fmt.Errorf("load the lyrics: %w", core.ErrReconnect)
	other := errors.New("a mistake")
	e.GET("/other", func(echo.Context) error { return other })
	e.GET("/lost", func(echo.Context) error { return lost })
	e.GET("/lost/inside", func(echo.Context) error { return lost }, echomw.Middleware(auth))
	e.GET("/lost/internal", func(echo.Context) error {
		return echo.NewHTTPError(http.StatusTeapot, "x").SetInternal(core.ErrReconnect)
	})

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
			require.Equal(t, c.want.Status, central.Code)
			require.ErrorIs(t, central.Internal, c.want)
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
		"writes":  func(c echo.Context) error { return c.String(http.StatusOK, "PROTECTED") },
		"fails":   func(echo.Context) error { return errors.New("PROTECTED") },
		"nothing": func(echo.Context) error { return nil },
	} {
		t.Run(""+name+": Echo knows that core has answered", func(t *testing.T) {
			auth, sessions := newAuth(t, brokenStore{core.NewMemory()})
			e := echo.New()
			var status int
			var committed bool
			e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
				return func(c echo.Context) error {
					err := next(c)
					status, committed = c.Response().Status, c.Response().Committed
					return err
				}
			}, echomw.Middleware(auth))
			e.GET("/", func(c echo.Context) error {
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

func TestGroups(t *testing.T) {
	for _, prefix := range []string{"", "/", "/auth", "/auth/", "/auth/musixmatch"} {
		t.Run("group "+prefix, func(t *testing.T) {
			auth, _ := newAuth(t, core.NewMemory())
			e := echo.New()
			ran := false
			group := e.Group(prefix, func(next echo.HandlerFunc) echo.HandlerFunc {
				return func(c echo.Context) error { ran = true; return next(c) }
			})
			echomw.Mount(group, auth)
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
			require.PanicsWithValue(t, "echomw: the route /auth/musixmatch/login is not below the group "+prefix,
				func() { echomw.Mount(echo.New().Group(prefix), auth) })
		}
	})
	t.Run("routes outside the middleware's group do without it", func(t *testing.T) {
		auth, sessions := newAuth(t, core.NewMemory())
		e := echo.New()
		e.GET("/healthz", func(c echo.Context) error { return c.String(http.StatusOK, "ok") })
		app := e.Group("", echomw.Middleware(auth))
		app.GET("/app", func(c echo.Context) error {
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
		func() { echomw.Mount(echo.New(), nil) }, func() { echomw.Middleware(nil) }, func() { echomw.RequireUser(nil) },
	} {
		require.PanicsWithValue(t, "musixmatch: the Auth is nil; look at the error of core.New", f)
	}
}
