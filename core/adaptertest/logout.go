package adaptertest

import (
	"net/http"
	"sync"
	"testing"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

var logoutCases = []testCase{
	{"cross-site", "another site's page can neither sign a user out nor disconnect them", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{config: func(c *core.Config) { c.TrustedOrigins = []string{"https://spa.example"} }})
		b := s.browser()
		b.signIn()
		for _, path := range []string{logoutPath, base + "/disconnect"} {
			refused(t, "Sec-Fetch-Site", b.do(http.MethodPost, path, "Sec-Fetch-Site", "cross-site"), http.StatusForbidden, "cross_origin")
			refused(t, "same-site", b.do(http.MethodPost, path, "Sec-Fetch-Site", "same-site"), http.StatusForbidden, "cross_origin")
			refused(t, "Origin", b.do(http.MethodPost, path, "Origin", "https://evil.example"), http.StatusForbidden, "cross_origin")
			refused(t, "null", b.do(http.MethodPost, path, "Origin", "null"), http.StatusForbidden, "cross_origin")
		}
		equal(t, "user", b.user(), alice)
		a := b.do(http.MethodPost, logoutPath, "Origin", "https://spa.example", "Sec-Fetch-Site", "cross-site")
		redirected(t, "trusted", a, "/bye")
		equal(t, "user", b.user(), "")
	}},
	{"logout", "logout ends the session in the store and removes the cookie as it was set; the grant stays", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{https: true})
		b := s.browser()
		b.signIn()
		session := b.session()
		a := b.submit(logoutPath)
		redirected(t, "logout", a, "/bye")
		private(t, "logout", a)
		equal(t, "cookies set", len(a.cookies), 1)
		gone := a.cookie(s.sessions.Cookie.Name)
		if gone == nil {
			t.Fatal("the cookie stays")
		}
		attributes(t, gone, true)
		equal(t, "value", gone.Value, "")
		equal(t, "Max-Age", gone.MaxAge, -1)
		equal(t, "user", b.user(), "")
		session.Path, session.Secure = "/", true
		equal(t, "the old cookie", s.browser().with(session).user(), "")
		equal(t, "logins alive at Musixmatch", len(s.mxm.Live(alice)), 1)
		redirected(t, "again", b.submit(logoutPath), "/bye")
		redirected(t, "with a session that has ended", s.browser().with(session).submit(logoutPath), "/bye")
	}},
	{"final", "a slow request that began before a logout does not bring the session back", func(t *testing.T, adapter Adapter) {
		arrived, leave := make(chan struct{}), make(chan struct{})
		s := start(t, adapter, setup{pages: []page{{"/slow", true, func(s *site, w http.ResponseWriter, r *http.Request) error {
			s.put(r, "late")
			close(arrived)
			<-leave
			return s.note(w, r)
		}}}})
		b := s.browser()
		b.signIn()
		session := b.session()
		slow := s.browser().with(session)
		done := make(chan *answer, 1)
		go func() {
			a, _ := slow.try(http.MethodGet, "/slow", navigation...)
			done <- a
		}()
		release := sync.OnceFunc(func() { close(leave) })
		defer release()
		select {
		case <-arrived:
		case a := <-done:
			t.Fatalf("the slow request was answered before it could be slow: %+v", a)
		}
		redirected(t, "logout", b.submit(logoutPath), "/bye")
		release()
		a := <-done
		if a == nil {
			t.Fatal("the slow request failed")
		}
		for _, c := range a.cookies {
			equal(t, "a cookie of the slow answer", c.Value, "")
		}
		equal(t, "the slow browser", slow.user(), "")
		equal(t, "the old cookie", s.browser().with(session).user(), "")
	}},
	{"disconnect", "disconnect deletes the grant, revokes it where that is possible, and ends the session", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{config: func(c *core.Config) { c.Endpoint.RevocationURL = c.BaseURL + "/oauth/revoke" }})
		s.mxm.Configure(func(c *mxmtest.Settings) { c.Revocation = true })
		b := s.browser()
		refused(t, "anonymous", b.submit(base+"/disconnect"), http.StatusUnauthorized, "not_signed_in")
		b.signIn()
		equal(t, "logins alive at Musixmatch", len(s.mxm.Live(alice)), 1)
		redirected(t, "disconnect", b.submit(base+"/disconnect"), "/bye")
		equal(t, "logins alive at Musixmatch", len(s.mxm.Live(alice)), 0)
		equal(t, "user", b.user(), "")
		b.signIn()
		equal(t, "user", b.user(), alice)
	}},
}
