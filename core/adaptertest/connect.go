package adaptertest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

const connectPath = base + "/connect"

// accounts is an application that has its own users, named by a header.
type accounts struct {
	mu    sync.Mutex
	links map[string]string
	fails bool
}

func (a *accounts) config(c *core.Config) {
	a.links = make(map[string]string)
	c.AppUser = func(r *http.Request) string { return r.Header.Get("App-User") }
	c.LinkedUser = func(_ context.Context, appUser string) (string, error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.fails {
			return "", errors.New("the database is down")
		}
		return a.links[appUser], nil
	}
	c.OnLogin = func(_ context.Context, l *core.Login) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		for appUser, userID := range a.links {
			if userID == l.UserID && appUser != l.AppUser {
				return core.ErrLoginRefused
			}
		}
		a.links[l.AppUser] = l.UserID
		return nil
	}
}

func (a *accounts) linked(appUser string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.links[appUser]
}

func as(appUser string, more ...string) []string {
	return append([]string{"App-User", appUser, "Sec-Fetch-Site", "same-origin"}, more...)
}

var connectCases = []testCase{
	{"connect", "connecting links the application's user, sets no session and never changes who is signed in", func(t *testing.T, adapter Adapter) {
		var db accounts
		s := start(t, adapter, setup{config: db.config, pages: []page{{"/lyrics", true, nothing}}})
		b := s.browser()
		refused(t, "signed out", b.do(http.MethodPost, connectPath, "Sec-Fetch-Site", "same-origin"), http.StatusUnauthorized, "not_signed_in")
		a := b.do(http.MethodPost, connectPath+"?return_to=/page", as("ann")...)
		callback := b.allow(a)
		equal(t, "cookies set", len(a.cookies), 1)
		a = b.do(http.MethodGet, callback, as("ann")...)
		redirected(t, "callback", a, "/page")
		equal(t, "cookies left", len(b.jar()), 0)
		equal(t, "link", db.linked("ann"), alice)
		redirected(t, "callback, reloaded", b.do(http.MethodGet, callback, as("ann")...), "/welcome")
		refused(t, "callback, reloaded by somebody else", b.do(http.MethodGet, callback, as("ben")...), http.StatusBadRequest, "bad_state")
		equal(t, "codes exchanged", s.exchanges(), 1)
		equal(t, "user", b.do(http.MethodGet, whoAmI, as("ann")...).body, alice)
		equal(t, "page", b.do(http.MethodGet, "/lyrics", as("ann")...).status, http.StatusOK)
		equal(t, "somebody else", b.do(http.MethodGet, whoAmI, as("ben")...).body, "")
		refused(t, "the same account for somebody else",
			b.do(http.MethodGet, b.allow(b.do(http.MethodPost, connectPath, as("ben")...)), as("ben")...), http.StatusForbidden, "login_refused")
		equal(t, "link of somebody else", db.linked("ben"), "")
		equal(t, "sessions written", s.store.commits.Load()+s.store.finds.Load(), 0)
	}},
	{"connect start", "connecting starts only with a POST from the same site", func(t *testing.T, adapter Adapter) {
		var db accounts
		s := start(t, adapter, setup{config: db.config})
		b := s.browser()
		a := b.do(http.MethodGet, connectPath, as("ann")...)
		refused(t, "GET", a, http.StatusMethodNotAllowed, "method_not_allowed")
		equal(t, "Allow", a.header.Get("Allow"), http.MethodPost)
		refused(t, "cross-site", b.do(http.MethodPost, connectPath, "App-User", "ann", "Sec-Fetch-Site", "cross-site"), http.StatusForbidden, "cross_origin")
		for _, path := range []string{loginPath, logoutPath} {
			equal(t, path, b.do(http.MethodPost, path, as("ann")...).status, http.StatusNotFound)
		}
	}},
	{"user changed", "a callback for another user than the one who began is refused and links nobody", func(t *testing.T, adapter Adapter) {
		var db accounts
		s := start(t, adapter, setup{config: db.config})
		b := s.browser()
		callback := b.allow(b.do(http.MethodPost, connectPath, as("ann")...))
		for _, other := range []string{"ben", ""} {
			refused(t, "as "+other, b.do(http.MethodGet, callback, as(other)...), http.StatusForbidden, "user_changed")
		}
		equal(t, "codes exchanged", s.exchanges(), 0)
		equal(t, "links", db.linked("ben")+db.linked(""), "")
		redirected(t, "as ann", b.do(http.MethodGet, callback, as("ann")...), "/welcome")
		equal(t, "link", db.linked("ann"), alice)
	}},
	{"not connected", "RequireUser tells apart who is signed out, who is not connected, and what cannot be known", func(t *testing.T, adapter Adapter) {
		var db accounts
		s := start(t, adapter, setup{config: db.config, pages: []page{{"/lyrics", true, nothing}}})
		b := s.browser()
		refused(t, "signed out", b.visit("/lyrics"), http.StatusUnauthorized, "not_signed_in")
		refused(t, "not connected", b.do(http.MethodGet, "/lyrics", as("ann", navigation...)...), http.StatusForbidden, "not_connected")
		db.mu.Lock()
		db.fails = true
		db.mu.Unlock()
		refused(t, "unknown", b.do(http.MethodGet, "/lyrics", as("ann", navigation...)...), http.StatusServiceUnavailable, "unavailable")
	}},
	{"disconnect in connect mode", "disconnect ends the grant of the user that the application has linked", func(t *testing.T, adapter Adapter) {
		var db accounts
		s := start(t, adapter, setup{config: func(c *core.Config) {
			db.config(c)
			c.Endpoint.RevocationURL = strings.TrimSuffix(c.BaseURL, "/") + "/oauth/revoke"
		}})
		s.mxm.Configure(func(c *mxmtest.Settings) { c.Revocation = true })
		b := s.browser()
		b.do(http.MethodGet, b.allow(b.do(http.MethodPost, connectPath, as("ann")...)), as("ann")...)
		equal(t, "logins alive at Musixmatch", len(s.mxm.Live(alice)), 1)
		refused(t, "not connected", b.do(http.MethodPost, base+"/disconnect", as("ben")...), http.StatusForbidden, "not_connected")
		redirected(t, "disconnect", b.do(http.MethodPost, base+"/disconnect", as("ann")...), "/bye")
		equal(t, "logins alive at Musixmatch", len(s.mxm.Live(alice)), 0)
	}},
}
