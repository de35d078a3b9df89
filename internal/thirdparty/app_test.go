package thirdparty_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	echo4 "github.com/labstack/echo/v4"
	echo5 "github.com/labstack/echo/v5"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/echomw"
	"github.com/mxmconnect/mxmconnect/echomw/echov5"
	"github.com/mxmconnect/mxmconnect/ginmw"
	"github.com/mxmconnect/mxmconnect/nethttpmw"
)

// around is a middleware for http.Handler.
type around = func(http.Handler) http.Handler

func same(next http.Handler) http.Handler { return next }

// csrf names the form's field and the token of a request, for middleware that has one.
type csrf func(r *http.Request) (field, token string)

// pages are what every application here serves, without a framework.
func pages(form csrf) map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"/page": func(w http.ResponseWriter, r *http.Request) {
			if form != nil {
				field, token := form(r)
				w.Header().Set("X-Form-Field", field)
				w.Header().Set("X-Form-Token", token)
			}
			fmt.Fprintf(w, "user=%s.", core.UserID(r.Context()))
		},
		"/events": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: first\n\n")
			_ = http.NewResponseController(w).Flush() // the reader finds out
			select {                                  // the stream stays open until its reader goes away
			case <-r.Context().Done():
			case <-time.After(3 * time.Second):
			}
		},
		"/coder": func(w http.ResponseWriter, r *http.Request) {
			conn, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			defer conn.CloseNow()
			_ = conn.Write(r.Context(), websocket.MessageText, []byte("user="+core.UserID(r.Context())+"."))
			_, _, _ = conn.Read(r.Context()) // until the browser goes away
		},
		"/gorilla": func(w http.ResponseWriter, r *http.Request) {
			conn, err := (&gorilla.Upgrader{}).Upgrade(w, r, nil)
			if err != nil {
				return
			}
			defer conn.Close()
			_ = conn.WriteMessage(gorilla.TextMessage, []byte("user="+core.UserID(r.Context())+"."))
			_, _, _ = conn.ReadMessage()
		},
		"/panic": func(http.ResponseWriter, *http.Request) { panic("a mistake") },
	}
}

// Each function builds an application with one middleware outside the adapter's
// and one inside. Without an auth the adapter is not there.

func serveMux(auth *core.Auth, outside, inside around, form csrf) http.Handler {
	mux := http.NewServeMux()
	for path, page := range pages(form) {
		mux.Handle(path, page)
	}
	if auth == nil {
		return outside(inside(mux))
	}
	nethttpmw.Mount(mux, auth)
	return outside(nethttpmw.Middleware(auth)(inside(mux)))
}

func chiRouter(auth *core.Auth, outside, inside around, form csrf) http.Handler {
	r := chi.NewRouter()
	r.Use(outside)
	if auth != nil {
		r.Use(nethttpmw.Middleware(auth))
	}
	r.Use(inside)
	if auth != nil {
		nethttpmw.Mount(r, auth)
	}
	for path, page := range pages(form) {
		r.Handle(path, page)
	}
	return r
}

func ginEngine(auth *core.Auth, outside, inside gin.HandlerFunc, form csrf) http.Handler {
	r := gin.New()
	r.Use(outside)
	if auth != nil {
		r.Use(ginmw.Middleware(auth))
	}
	r.Use(inside)
	if auth != nil {
		ginmw.Mount(r, auth)
	}
	for path, page := range pages(form) {
		r.GET(path, gin.WrapF(page))
	}
	return r
}

func echoV4(auth *core.Auth, outside, inside echo4.MiddlewareFunc, form csrf) http.Handler {
	e := echo4.New()
	e.Logger.SetOutput(io.Discard)
	e.Use(outside)
	if auth != nil {
		e.Use(echomw.Middleware(auth))
	}
	e.Use(inside)
	if auth != nil {
		echomw.Mount(e, auth)
	}
	for path, page := range pages(form) {
		e.GET(path, func(c echo4.Context) error {
			if token, ok := c.Get("csrf").(string); ok {
				c.Response().Header().Set("X-Form-Field", "_csrf")
				c.Response().Header().Set("X-Form-Token", token)
			}
			page(c.Response(), c.Request())
			return nil
		})
	}
	return e
}

func echoV5(auth *core.Auth, outside, inside echo5.MiddlewareFunc, form csrf) http.Handler {
	e := echo5.New()
	e.Use(outside)
	if auth != nil {
		e.Use(echov5.Middleware(auth))
	}
	e.Use(inside)
	if auth != nil {
		echov5.Mount(e, auth)
	}
	for path, page := range pages(form) {
		e.GET(path, func(c *echo5.Context) error {
			if token, ok := c.Get("csrf").(string); ok {
				c.Response().Header().Set("X-Form-Field", "_csrf")
				c.Response().Header().Set("X-Form-Token", token)
			}
			page(c.Response(), c.Request())
			return nil
		})
	}
	return e
}

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	m.Run()
}
