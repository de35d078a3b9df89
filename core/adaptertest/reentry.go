package adaptertest

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
)

// asking is a slog handler that adds the signed-in user to every line, as
// applications do.
type asking struct{ slog.Handler }

func (h asking) Handle(ctx context.Context, r slog.Record) error {
	r.AddAttrs(slog.String("user_id", core.UserID(ctx)))
	return h.Handler.Handle(ctx, r)
}

var reentryCases = []testCase{
	{"log of the user", "a logger that asks who is signed in, and a store that logs with the request's context, hang no request", func(t *testing.T, adapter Adapter) {
		var log *slog.Logger
		s := start(t, adapter, setup{
			config: func(c *core.Config) {
				log = slog.New(asking{c.Logger.Handler()})
				c.Logger = log
				c.Sessions.IdleTimeout = time.Hour
			},
			pages: []page{{"/put", true, func(s *site, w http.ResponseWriter, r *http.Request) error {
				s.put(r, "written")
				return s.note(w, r)
			}}, {"/late", true, func(s *site, w http.ResponseWriter, r *http.Request) error {
				_, err := io.WriteString(w, core.UserID(r.Context()))
				s.put(r, "late")
				return err
			}}, {"/note", true, (*site).note}},
		})
		s.store.log.Store(log)
		b := s.browser()
		b.client.Timeout = 10 * time.Second
		b.signIn()
		b.signIn() // which renews the session
		equal(t, "page", b.visit("/put").body, "note=written")
		equal(t, "page that writes late", b.visit("/late").body, alice)
		equal(t, "next page", b.visit("/note").body, "note=late")
		redirected(t, "logout", b.submit(logoutPath), "/bye")
		equal(t, "user", b.user(), "")
		contains(t, "log", s.log.String(), `"msg":"commit","user_id":"`+alice+`"`)
	}},
	{"log of the linked user", "AppUser and LinkedUser may log with their context, though the logger asks who is signed in", func(t *testing.T, adapter Adapter) {
		var db accounts
		s := start(t, adapter, setup{
			config: func(c *core.Config) {
				db.config(c)
				log := slog.New(asking{c.Logger.Handler()})
				c.Logger = log
				appUser, linkedUser := c.AppUser, c.LinkedUser
				c.AppUser = func(r *http.Request) string {
					log.InfoContext(r.Context(), "asked for the application's user")
					return appUser(r)
				}
				c.LinkedUser = func(ctx context.Context, appUser string) (string, error) {
					log.InfoContext(ctx, "asked for the linked user")
					return linkedUser(ctx, appUser)
				}
			},
			pages: []page{{"/lyrics", true, nothing}},
		})
		b := s.browser()
		b.client.Timeout = 10 * time.Second
		redirected(t, "callback", b.do(http.MethodGet, b.allow(b.do(http.MethodPost, connectPath, as("ann")...)), as("ann")...), "/welcome")
		equal(t, "user", b.do(http.MethodGet, whoAmI, as("ann")...).body, alice)
		equal(t, "page", b.do(http.MethodGet, "/lyrics", as("ann")...).status, http.StatusOK)
		contains(t, "log", s.log.String(), `"msg":"asked for the linked user","user_id":""`)
	}},
}
