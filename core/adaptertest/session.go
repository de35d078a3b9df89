package adaptertest

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

var sessionCases = []testCase{
	{"cookies on https", "on https every cookie is __Host-, Secure, HttpOnly, Lax, with Path=/ and no Domain", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{https: true})
		b := s.browser()
		b.signIn()
		equal(t, "user", b.user(), alice)
		equal(t, "the session's cookie", s.sessions.Cookie.Name, "__Host-Http-mxm_session")
		b.submit(logoutPath)
		if len(b.seen) < 4 {
			t.Errorf("only %d cookies were seen", len(b.seen))
		}
		for _, c := range b.seen {
			attributes(t, c, true)
			if !strings.HasPrefix(c.Name, "__Host-") {
				t.Errorf("%s lacks the __Host- prefix", c.Name)
			}
		}
	}},
	{"cookies on http", "on http the cookies lose Secure and the prefix, and nothing else", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{})
		b := s.browser()
		b.signIn()
		b.submit(logoutPath)
		for _, c := range b.seen {
			attributes(t, c, false)
			lacks(t, "name", c.Name, "__Host-")
		}
		equal(t, "cookies", len(b.jar()), 0)
	}},
	{"two kinds", "a login cookie is not accepted as a session cookie, nor a session cookie as a login cookie", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{})
		b := s.browser()
		callback := b.begin("")
		flow := flowCookies(b.jar())[0]
		if len(flow.Name)+len(flow.Value) > 3500 {
			t.Errorf("the cookie has %d bytes", len(flow.Name)+len(flow.Value))
		}
		equal(t, "as a session", s.browser().with(&http.Cookie{Name: s.sessions.Cookie.Name, Value: flow.Value, Path: "/"}).user(), "")
		b.visit(callback)
		other := s.browser()
		other.with(&http.Cookie{Name: flow.Name, Value: b.session().Value, Path: "/"})
		refused(t, "as a sign-in", other.visit(callback), http.StatusBadRequest, "bad_state")
	}},
	{"anonymous", "anonymous traffic sets no cookie and stores nothing", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{pages: []page{
			{"/public", false, func(s *site, w http.ResponseWriter, r *http.Request) error {
				_, err := io.WriteString(w, "public")
				return err
			}},
			{"/me", true, nothing},
		}})
		for range 20 {
			b := s.browser()
			for _, path := range []string{"/public", "/me", whoAmI, "/nothing", loginPath + "x"} {
				if a := b.visit(path); len(a.cookies) > 0 {
					t.Errorf("GET %s sets a cookie", path)
				}
			}
			b.visit(loginPath)
			b.submit(logoutPath)
			b.visit(base + "/callback?code=x&state=y")
		}
		equal(t, "sessions written", s.store.commits.Load(), 0)
		equal(t, "sessions read", s.store.finds.Load(), 0)
	}},
	{"unreadable", "a cookie that cannot be read counts as none and is removed; it is never an error", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{})
		b := s.browser()
		b.signIn()
		s.store.garbled.Store(true)
		a := b.do(http.MethodGet, whoAmI)
		equal(t, "status", a.status, http.StatusOK)
		equal(t, "user", a.body, "")
		equal(t, "session cookie", b.session() == nil, true)
		s.store.garbled.Store(false)

		for _, value := range []string{"x", strings.Repeat("y", 5000)} {
			c := s.browser().with(&http.Cookie{Name: s.sessions.Cookie.Name, Value: value, Path: "/"})
			equal(t, "user", c.user(), "")
			equal(t, "cookies", len(c.jar()), 0)
		}
		c := s.browser()
		c.signIn()
		equal(t, "user", c.user(), alice)
	}},
	{"planted", "a request with two session cookies is anonymous", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{})
		b, c := s.browser(), s.browser()
		b.signIn()
		s.mxm.SignInAs(bob)
		c.signIn()
		header := b.session().Name + "=" + b.session().Value + "; " + c.session().Name + "=" + c.session().Value
		equal(t, "user", s.browser().do(http.MethodGet, whoAmI, "Cookie", header).body, "")
	}},
	{"caching", "an answer that depends on the session stays out of shared caches, whatever the handler says", func(t *testing.T, adapter Adapter) {
		serve := func(control string) func(*site, http.ResponseWriter, *http.Request) error {
			return func(_ *site, w http.ResponseWriter, r *http.Request) error {
				if control != "" {
					w.Header().Set("Cache-Control", control)
				}
				_, err := io.WriteString(w, "page")
				return err
			}
		}
		s := start(t, adapter, setup{pages: []page{
			{"/silent", false, serve("")},
			{"/public", false, serve("public, max-age=60")},
			{"/private", false, serve("private, max-age=60")},
		}})
		b := s.browser()
		for _, signedIn := range []bool{false, true} {
			if signedIn {
				b.signIn()
			}
			for path, want := range map[string][2]string{
				"/silent":  {"no-store", "no-store"},
				"/public":  {"public, max-age=60", "no-store"},
				"/private": {"private, max-age=60", "private, max-age=60"},
			} {
				a := b.visit(path)
				i := 0
				if signedIn {
					i = 1
				}
				equal(t, path+": Cache-Control", strings.Join(a.header["Cache-Control"], ";"), want[i])
				contains(t, path+": Vary", strings.Join(a.header["Vary"], ","), "Cookie")
			}
		}
	}},
	{"isolation", "parallel requests of several users never see each other", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{pages: []page{{"/me", true, nothing}}})
		users := []string{alice, bob, ""}
		var wg sync.WaitGroup
		for _, user := range users {
			for range 3 {
				b := s.browser()
				if user != "" {
					s.mxm.SignInAs(user)
					b.signIn()
				}
				wg.Go(func() {
					for i := range 40 {
						path := whoAmI
						if i%4 == 3 {
							path = "/me"
						}
						a, err := b.try(http.MethodGet, path, fetch...)
						switch {
						case err != nil:
							t.Error(err)
							return
						case path == whoAmI && a.body != user:
							t.Errorf("%q was told to be %q", user, a.body)
						}
					}
				})
			}
		}
		wg.Wait()
	}},
	{"identity", "who is signed in comes from the session and from no header", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{})
		a := s.browser().do(http.MethodGet, whoAmI, "X-User-Id", alice, "X_User_Id", alice, "Authorization", "Bearer x", "X-Forwarded-User", alice)
		equal(t, "user", a.body, "")
	}},
}

func attributes(t *testing.T, c *http.Cookie, secure bool) {
	t.Helper()
	got := fmt.Sprintf("Path=%s Domain=%s HttpOnly=%t Secure=%t SameSite=%d", c.Path, c.Domain, c.HttpOnly, c.Secure, c.SameSite)
	equal(t, c.Name, got, fmt.Sprintf("Path=/ Domain= HttpOnly=true Secure=%t SameSite=%d", secure, http.SameSiteLaxMode))
}
