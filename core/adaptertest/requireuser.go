package adaptertest

import (
	"io"
	"net/http"
	"testing"

	"github.com/mxmconnect/mxmconnect/core"
)

var requireUserCases = []testCase{
	{"who navigates", "RequireUser sends a navigation to the login and answers 401 to anything else", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{pages: []page{{"/me", true, func(_ *site, w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("X-Protected", "yes")
			_, err := io.WriteString(w, "PROTECTED")
			return err
		}}}})
		b := s.browser()
		login := loginPath + "?return_to=%2Fme%3Fa%3Db%26c%3D%252F"
		for _, c := range []struct {
			what, method string
			headers      []string
			login        bool
		}{
			{"a navigation", http.MethodGet, navigation, true},
			{"an older browser", http.MethodGet, []string{"Accept", "text/html"}, true},
			{"a script", http.MethodGet, fetch, false},
			{"a script that asks for HTML", http.MethodGet, []string{"Accept", "text/html", "Sec-Fetch-Mode", "cors"}, false},
			{"a frame", http.MethodGet, []string{"Accept", "text/html", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, false},
			{"a program", http.MethodGet, nil, false},
			{"a form", http.MethodPost, navigation, false},
			{"PUT", http.MethodPut, fetch, false},
			{"DELETE", http.MethodDelete, nil, false},
			{"HEAD", http.MethodHead, nil, false},
		} {
			a := b.do(c.method, "/me?a=b&c=%2F", c.headers...)
			private(t, c.what, a)
			if c.login {
				redirected(t, c.what, a, login)
			} else if c.method == http.MethodHead {
				equal(t, c.what+": status", a.status, http.StatusUnauthorized)
			} else {
				refused(t, c.what, a, http.StatusUnauthorized, "not_signed_in")
			}
			lacks(t, c.what, a.body, "PROTECTED")
			equal(t, c.what+": a header of the page", a.header.Get("X-Protected"), "")
			equal(t, c.what+": cookies", len(a.cookies), 0)
		}
		redirected(t, "the way back", b.visit(b.allow(b.visit(login))), "/me?a=b&c=%2F")
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
			equal(t, method+" when signed in", b.do(method, "/me").body, "PROTECTED")
		}
	}},
	{"the way in", "not_signed_in tells scripts where to sign in: HX-Redirect for htmx, login_url in the JSON of core.WriteError", func(t *testing.T, adapter Adapter) {
		for _, handler := range []func(http.ResponseWriter, *http.Request, error){nil, core.WriteError} {
			s := start(t, adapter, setup{
				config: func(c *core.Config) { c.ErrorHandler = handler },
				pages:  []page{{"/api", true, nothing}},
			})
			b := s.browser()
			for _, c := range []struct{ current, login string }{
				{s.url + "/songs?page=2", loginPath + "?return_to=%2Fsongs%3Fpage%3D2"},
				{s.url + "/songs#top", loginPath + "?return_to=%2Fsongs"},
				{"https://evil.example/songs", loginPath},
				{s.url + ".evil.example/songs", loginPath},
				{"//evil.example", loginPath},
				{"/songs", loginPath},
				{"", loginPath},
			} {
				for _, target := range []string{"/api", base + "/disconnect"} {
					method := http.MethodGet
					if target != "/api" {
						method = http.MethodPost
					}
					// htmx accepts HTML, and older browsers send no Sec-Fetch-Mode.
					for _, more := range [][]string{{"Accept", "text/html, */*"}, fetch} {
						a := b.do(method, target, append([]string{"HX-Request", "true", "HX-Current-URL", c.current, "Sec-Fetch-Site", "same-origin"}, more...)...)
						refused(t, "htmx on "+c.current, a, http.StatusUnauthorized, "not_signed_in")
						equal(t, "HX-Redirect from "+c.current, a.header.Get("HX-Redirect"), c.login)
					}
					a := b.do(method, target, append([]string{"HX-Current-URL", c.current}, fetch...)...)
					refused(t, "fetch on "+c.current, a, http.StatusUnauthorized, "not_signed_in")
					equal(t, "HX-Redirect without HX-Request", a.header.Get("HX-Redirect"), "")
					if handler != nil {
						equal(t, "body", a.body, `{"error":"not_signed_in","login_url":"`+c.login+"\"}\n")
					}
				}
			}
			b.signIn()
			equal(t, "when signed in", b.do(http.MethodGet, "/api", "HX-Request", "true").header.Get("HX-Redirect"), "")
		}
	}},
	{"by route", "a page is protected however its address is written", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{pages: []page{{"/me", true, func(_ *site, w http.ResponseWriter, r *http.Request) error {
			_, err := io.WriteString(w, "PROTECTED")
			return err
		}}}})
		b := s.browser()
		for _, target := range []string{
			"/%6de", "//me", "/./me", "/x/../me", "/me/", "/me;x", "/me%00", "/me?public", "/me#" + whoAmI, "/ME",
		} {
			for _, headers := range [][]string{
				{"X-Forwarded-Uri", whoAmI, "X-Original-Url", whoAmI},
				{"User-Agent", "kube-probe/1.0"},
				{"X-Http-Method-Override", "OPTIONS"},
			} {
				lacks(t, target, b.do(http.MethodGet, target, headers...).body, "PROTECTED")
			}
		}
	}},
	{"around everything", "RequireUser around a whole site lets people sign in and out", func(t *testing.T, adapter Adapter) {
		for _, noMiddleware := range []bool{false, true} {
			s := start(t, adapter, setup{requireUser: true, noMiddleware: noMiddleware, pages: []page{{"/page", false, func(_ *site, w http.ResponseWriter, r *http.Request) error {
				_, err := io.WriteString(w, "PROTECTED "+core.UserID(r.Context()))
				return err
			}}}})
			b := s.browser()
			challenge := b.visit("/page")
			redirected(t, "anonymous", challenge, loginPath+"?return_to=%2Fpage")
			callback := b.allow(b.visit(challenge.location()))
			refused(t, "another browser's callback", s.browser().visit(callback), http.StatusBadRequest, "bad_state")
			redirected(t, "callback", b.visit(callback), "/page")
			equal(t, "page", b.visit("/page").body, "PROTECTED "+alice)
			a := b.do(http.MethodPost, loginPath)
			refused(t, "a method that login does not take", a, http.StatusMethodNotAllowed, "method_not_allowed")
			equal(t, "Allow", a.header.Get("Allow") != "", true)
			redirected(t, "logout", b.submit(logoutPath), "/bye")
			redirected(t, "logout of nobody", b.submit(logoutPath), "/bye")
			equal(t, "a script", b.do(http.MethodGet, "/page", fetch...).status, http.StatusUnauthorized)
			lacks(t, "a script", b.do(http.MethodGet, "/page", fetch...).body, "PROTECTED")
		}
	}},
}
