package adaptertest

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

var everyMethod = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

var routeCases = []testCase{
	{"methods", "a route takes one method, the login also HEAD; it answers every other with 405 and Allow, and does nothing else", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{})
		b := s.browser()
		callback := b.begin("/page")
		for _, route := range s.auth.Routes() {
			allowed, target := http.MethodGet, route.Path
			switch route.Path {
			case mxmtest.CallbackPath:
				target = callback
			case loginPath:
				allowed = "GET, HEAD"
			case logoutPath, base + "/disconnect":
				allowed = http.MethodPost
			}
			for _, method := range everyMethod {
				if slices.Contains(strings.Split(allowed, ", "), method) {
					continue
				}
				a := b.do(method, target, "Origin", s.url, "Sec-Fetch-Site", "same-origin")
				what := method + " " + route.Path
				equal(t, what+": status", a.status, http.StatusMethodNotAllowed)
				equal(t, what+": Allow", a.header.Get("Allow"), allowed)
				equal(t, what+": cookies", len(a.cookies), 0)
				private(t, what, a)
				if method == http.MethodHead {
					equal(t, what+": body", a.body, "")
				} else {
					contains(t, what+": body", a.body, "method_not_allowed")
				}
			}
		}
		equal(t, "codes exchanged", s.exchanges(), 0)
		redirected(t, "the callback afterwards", b.visit(callback), "/page")
	}},
	{"trailing slash", "an address that is not a route is 404, and no redirect repeats a code", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{})
		b := s.browser()
		b.begin("")
		for _, path := range []string{mxmtest.CallbackPath + "/", loginPath + "/", logoutPath + "/", base + "/nothing", "/AUTH/musixmatch/callback"} {
			a := b.visit(path + "?code=canary-code&state=canary-state")
			equal(t, path+": status", a.status, http.StatusNotFound)
			equal(t, path+": Location", a.location(), "")
			lacks(t, path+": body", a.body, "canary")
		}
	}},
	{"limits", "an oversized query or body is refused", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{})
		b := s.browser()
		huge := strings.Repeat("x", 9<<10)
		refused(t, "login", b.visit(loginPath+"?x="+huge), http.StatusBadRequest, "bad_request")
		refused(t, "callback", b.visit(mxmtest.CallbackPath+"?code=c&state="+strings.Repeat("s", 300)), http.StatusBadRequest, "bad_request")
		refused(t, "code", b.visit(mxmtest.CallbackPath+"?state=s&code="+strings.Repeat("c", 5<<10)), http.StatusBadRequest, "bad_request")
		a := b.do(http.MethodPost, logoutPath+"?x="+huge, "Origin", s.url)
		refused(t, "logout", a, http.StatusBadRequest, "bad_request")
	}},
	{"without Middleware", "routes and RequireUser load and save the session themselves", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{noMiddleware: true, pages: []page{
			{"/me", true, func(s *site, w http.ResponseWriter, r *http.Request) error {
				s.put(r, "written")
				return s.note(w, r)
			}},
			{"/note", true, (*site).note},
		}})
		b := s.browser()
		login := b.visit("/me?x=1")
		redirected(t, "anonymous", login, loginPath+"?return_to=%2Fme%3Fx%3D1")
		redirected(t, "callback", b.visit(b.allow(b.visit(login.location()))), "/me?x=1")
		equal(t, "page", b.visit("/me").body, "note=written")
		equal(t, "next page", b.visit("/note").body, "note=written")
		redirected(t, "logout", b.submit(logoutPath), "/bye")
		equal(t, "after logout", b.do(http.MethodGet, "/note", fetch...).status, http.StatusUnauthorized)
	}},
}
