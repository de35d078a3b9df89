package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/alexedwards/scs/v2"
	gincontrib "github.com/gin-contrib/sessions"
	gincookie "github.com/gin-contrib/sessions/cookie"
	"github.com/gin-gonic/gin"
	"github.com/gorilla/sessions"
	echocontrib "github.com/labstack/echo-contrib/session"
	"github.com/labstack/echo/v4"
	echo5 "github.com/labstack/echo/v5"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/echomw"
	"github.com/mxmconnect/mxmconnect/echomw/echov5"
	"github.com/mxmconnect/mxmconnect/ginmw"
	"github.com/mxmconnect/mxmconnect/nethttpmw"
)

const user = "mxm:100000000000000000001"

var cookieKey = []byte("0123456789abcdef0123456789abcdef")

// site is an application that knows its user: GET /in signs one in, and GET /
// answers with who it is.
type site struct {
	name    string
	ours    bool
	handler http.Handler
	cookies []*http.Cookie // of a browser that is signed in
	why     string
}

// request is the work of these groups: a cookie comes in, and the user's ID goes out.
func (s site) request() contender {
	in := httptest.NewRequest(http.MethodGet, "https://app.example/in", nil)
	if s.cookies == nil {
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, in)
		s.cookies = w.Result().Cookies()
	}
	r := httptest.NewRequest(http.MethodGet, "https://app.example/", nil)
	for _, c := range s.cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r.Clone(r.Context()))
	check(w.Code == http.StatusOK && w.Body.String() == user, "%s: %d %s", s.name, w.Code, w.Body)
	return contender{name: s.name, ours: s.ours, why: s.why, prepare: repeated(func() {
		w := &discard{header: http.Header{}}
		s.handler.ServeHTTP(w, r.WithContext(r.Context())) // a copy: some keep things in it
		check(w.n == len(user), "%s: somebody else", s.name)
	})}
}

// discard is a response that nobody reads.
type discard struct {
	header http.Header
	n      int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Write(b []byte) (int, error) { d.n += len(b); return len(b), nil }
func (d *discard) WriteString(s string) (int, error) {
	d.n += len(s)
	return len(s), nil
}

func requestOnNetHTTP() group {
	return group{title: "authenticated request, net/http", contenders: []contender{
		ours("mxmconnect (nethttpmw)", nil, onNetHTTP).request(),
		usingSCS("scs", scs.New()).request(),
		usingGorilla().request(),
		bare(func() http.Handler {
			mux := http.NewServeMux()
			mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, user) })
			return mux
		}()).request(),
	}}
}

const idleTimeout = 30 * time.Minute

func requestWithIdleTimeout() group {
	m := scs.New()
	m.IdleTimeout = idleTimeout
	return group{title: "authenticated request with an idle timeout", contenders: []contender{
		ours("mxmconnect (nethttpmw)", func(c *core.Config) {
			c.Sessions.IdleTimeout = idleTimeout
		}, onNetHTTP).request(),
		usingSCS("scs", m).request(),
	}}
}

func requestOnGin() group {
	return group{title: "authenticated request, Gin", contenders: []contender{
		ours("mxmconnect (ginmw)", nil, onGin).request(),
		usingGinContrib("gin-contrib/sessions, cookie", gincookie.NewStore(cookieKey)).request(),
		bare(func() http.Handler {
			r := newGin()
			r.GET("/", func(c *gin.Context) { c.String(http.StatusOK, user) })
			return r
		}()).request(),
	}}
}

func requestOnEcho() group {
	return group{title: "authenticated request, Echo v4", contenders: []contender{
		ours("mxmconnect (echomw)", nil, onEcho).request(),
		usingEchoContrib().request(),
		bare(func() http.Handler {
			e := echo.New()
			e.GET("/", func(c echo.Context) error { return c.String(http.StatusOK, user) })
			return e
		}()).request(),
	}}
}

// For Echo v5 the module proxy knows no release of echo-contrib yet.
func requestOnEchoV5() group {
	return group{title: "authenticated request, Echo v5", contenders: []contender{
		ours("mxmconnect (echov5)", nil, onEchoV5).request(),
		bare(func() http.Handler {
			e := echo5.New()
			e.GET("/", func(c *echo5.Context) error { return c.String(http.StatusOK, user) })
			return e
		}()).request(),
	}}
}

// bare is the floor: an answer that is always the same.
func bare(h http.Handler) site {
	return site{name: "no session at all", why: "it looks at nobody's cookie", handler: h, cookies: []*http.Cookie{{Name: "session", Value: "0123456789012345678901234567890123456789abc"}}}
}

// ours signs somebody in, the whole way, and serves with one of the adapters.
func ours(name string, change func(*core.Config), serve func(*core.Auth) http.Handler) site {
	auth := newAuth(change)
	return site{name: name, ours: true, handler: serve(auth), cookies: signIn(auth)}
}

func onNetHTTP(auth *core.Auth) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, nethttpmw.UserID(r))
	})
	return nethttpmw.Middleware(auth)(mux)
}

func newGin() *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	return gin.New()
}

func onGin(auth *core.Auth) http.Handler {
	r := newGin()
	r.Use(ginmw.Middleware(auth))
	r.GET("/", func(c *gin.Context) { c.String(http.StatusOK, ginmw.UserID(c)) })
	return r
}

func onEcho(auth *core.Auth) http.Handler {
	e := echo.New()
	e.Use(echomw.Middleware(auth))
	e.GET("/", func(c echo.Context) error { return c.String(http.StatusOK, echomw.UserID(c)) })
	return e
}

func onEchoV5(auth *core.Auth) http.Handler {
	e := echo5.New()
	e.Use(echov5.Middleware(auth))
	e.GET("/", func(c *echo5.Context) error { return c.String(http.StatusOK, echov5.UserID(c)) })
	return e
}

func usingSCS(name string, m *scs.SessionManager) site {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /in", func(w http.ResponseWriter, r *http.Request) { m.Put(r.Context(), "user", user) })
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, m.GetString(r.Context(), "user"))
	})
	return site{name: name, handler: m.LoadAndSave(mux)}
}

func usingGorilla() site {
	store := sessions.NewCookieStore(cookieKey)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /in", func(w http.ResponseWriter, r *http.Request) {
		s, _ := store.Get(r, "session")
		s.Values["user"] = user
		must(0, s.Save(r, w))
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		s, _ := store.Get(r, "session")
		id, _ := s.Values["user"].(string)
		_, _ = io.WriteString(w, id)
	})
	return site{name: "gorilla/sessions, cookie", handler: mux}
}

func usingGinContrib(name string, store gincontrib.Store) site {
	r := newGin()
	r.Use(gincontrib.Sessions("session", store))
	r.GET("/in", func(c *gin.Context) {
		s := gincontrib.Default(c)
		s.Set("user", user)
		must(0, s.Save())
	})
	r.GET("/", func(c *gin.Context) {
		id, _ := gincontrib.Default(c).Get("user").(string)
		c.String(http.StatusOK, id)
	})
	return site{name: name, handler: r}
}

func usingEchoContrib() site {
	e := echo.New()
	e.Use(echocontrib.Middleware(sessions.NewCookieStore(cookieKey)))
	e.GET("/in", func(c echo.Context) error {
		s := must(echocontrib.Get("session", c))
		s.Values["user"] = user
		return s.Save(c.Request(), c.Response())
	})
	e.GET("/", func(c echo.Context) error {
		s, err := echocontrib.Get("session", c)
		if err != nil {
			return err
		}
		id, _ := s.Values["user"].(string)
		return c.String(http.StatusOK, id)
	})
	return site{name: "echo-contrib/session, cookie", handler: e}
}
