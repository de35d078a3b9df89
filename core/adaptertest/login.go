package adaptertest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

var loginCases = []testCase{
	{"authorization request", "login redirects by 303 with PKCE S256, a fresh state and nothing that the browser's query could choose", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{config: func(c *core.Config) { c.Scopes = []string{"lyrics"} }})
		b := s.browser()
		states, challenges := make(map[string]bool), make(map[string]bool)
		for range 3 {
			a := b.visit(loginPath + "?return_to=/page&scope=evil&redirect_uri=https://evil.example&client_id=evil&prompt=none&state=evil&code_challenge_method=plain")
			equal(t, "status", a.status, http.StatusSeeOther)
			private(t, "login", a)
			u, err := url.Parse(a.location())
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "endpoint", strings.TrimSuffix(a.location(), "?"+u.RawQuery), s.mxm.URL+"/oauth/authorize")
			q := u.Query()
			equal(t, "parameters", len(q), 7)
			for name, want := range map[string]string{
				"response_type": "code", "client_id": mxmtest.DefaultClientID, "redirect_uri": s.url + mxmtest.CallbackPath,
				"scope": "profile email lyrics", "code_challenge_method": "S256",
			} {
				equal(t, name, strings.Join(q[name], "|"), want)
			}
			if state := q.Get("state"); len(state) < 22 || states[state] {
				t.Errorf("state %q is short or not fresh", state)
			}
			if challenge := q.Get("code_challenge"); len(challenge) != 43 || challenges[challenge] {
				t.Errorf("code_challenge %q is malformed or not fresh", challenge)
			}
			states[q.Get("state")], challenges[q.Get("code_challenge")] = true, true
			equal(t, "cookies", len(a.cookies), 1)
		}
	}},
	{"tabs", "several tabs sign in side by side, and a browser remembers at most five attempts", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{})
		b := s.browser()
		var callbacks []string
		for range 6 {
			callbacks = append(callbacks, b.begin("/page"))
		}
		equal(t, "attempts", len(flowCookies(b.jar())), 5)
		for i, callback := range callbacks[1:] {
			redirected(t, "tab", b.visit(callback), "/page")
			equal(t, "attempts left", len(flowCookies(b.jar())), 4-i)
		}
		equal(t, "codes exchanged", s.exchanges(), 5)
		equal(t, "user", b.user(), alice)
	}},
	{"many logins", "sign-ins that a stranger starts leave cookies of less than 4 KiB, one after the other or at once, and the last comes back to where it began", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{https: true})
		for _, returnTo := range []string{"/page?q=" + strings.Repeat("&", 1000), "/page?q=" + strings.Repeat("&", 2040), "/page"} {
			target := loginPath + "?" + url.Values{"return_to": {returnTo}}.Encode()
			b := s.browser()
			for range 7 {
				small(t, b.visit(target), b)
			}
			if len(returnTo) <= 1<<10 {
				redirected(t, "the last", b.visit(b.begin(returnTo)), returnTo)
			} else {
				redirected(t, "the last", b.visit(b.begin(returnTo)), "/welcome")
			}

			b = s.browser()
			for range 5 {
				other := s.browser() // which has none of the others' cookies when it asks
				a := other.visit(target)
				b.with(a.cookies...)
				small(t, a, b)
			}
			equal(t, "attempts", len(flowCookies(b.jar())), 5)
			small(t, b.visit(target), b)
		}
	}},
	{"navigation", "a script or a foreign frame cannot start a sign-in", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{})
		b := s.browser()
		refused(t, "fetch", b.do(http.MethodGet, loginPath, fetch...), http.StatusBadRequest, "bad_request")
		refused(t, "frame", b.do(http.MethodGet, loginPath, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Dest", "iframe"),
			http.StatusForbidden, "cross_origin")
		equal(t, "attempts", len(b.jar()), 0)
	}},
	{"HEAD", "HEAD is GET without a body on the login and on protected pages, and no callback", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{pages: []page{{"/me", true, nothing}}})
		b := s.browser()
		a := b.do(http.MethodHead, loginPath, navigation...)
		private(t, "login", a)
		callback := b.allow(a)
		redirected(t, "a page", b.do(http.MethodHead, "/me", navigation...), loginPath+"?return_to=%2Fme")
		a = b.do(http.MethodHead, callback, navigation...)
		equal(t, "callback: status", a.status, http.StatusMethodNotAllowed)
		equal(t, "callback: Allow", a.header.Get("Allow"), http.MethodGet)
		redirected(t, "callback", b.visit(callback), "/welcome")
		equal(t, "the page when signed in", b.do(http.MethodHead, "/me", navigation...).status, http.StatusOK)
	}},
	{"forwarded headers", "no header of the request reaches redirect_uri or a redirect", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{pages: []page{{"/me", true, nothing}}})
		b := s.browser()
		evil := append([]string{"X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "https", "X-Forwarded-Prefix", "/evil", "Forwarded", "host=evil.example"}, navigation...)
		a := b.do(http.MethodGet, loginPath, evil...)
		equal(t, "redirect_uri", query(a.location(), "redirect_uri"), s.url+mxmtest.CallbackPath)
		redirected(t, "challenge", b.do(http.MethodGet, "/me", evil...), loginPath+"?return_to=%2Fme")
	}},
	{"another loopback host", "a sign-in that begins at localhost moves, once, to the loopback host of RedirectURL", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{pages: []page{{"/me", true, nothing}}})
		b := s.browser()
		localhost := strings.Replace(s.url, "127.0.0.1", "localhost", 1)
		redirected(t, "challenge", b.visit(localhost+"/me?x"), loginPath+"?return_to=%2Fme%3Fx")
		a := b.visit(localhost + loginPath + "?return_to=%2Fme%3Fx&scope=evil")
		redirected(t, "login", a, s.url+loginPath+"?moved=1&return_to=%2Fme%3Fx")
		private(t, "login", a)
		equal(t, "attempts", len(a.cookies), 0)
		redirected(t, "callback", b.visit(b.allow(b.visit(a.location()))), "/me?x")
		equal(t, "user", b.user(), alice)
		equal(t, "warnings", strings.Count(s.log.String(), `"level":"WARN"`), 0)

		// A proxy on this machine may send its own Host with every request.
		for range 2 {
			b.allow(b.visit(localhost + loginPath + "?moved=1"))
		}
		equal(t, "warnings", strings.Count(s.log.String(), `"level":"WARN"`), 1)
	}},
	{"another host", "a sign-in that begins at another host goes on, and one warning names both", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{around: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.Host = "upstream.internal:8080" // as a proxy may do
				next.ServeHTTP(w, r)
			})
		}})
		b := s.browser()
		for range 2 {
			b.signIn()
		}
		equal(t, "warnings", strings.Count(s.log.String(), `"level":"WARN"`), 1)
		contains(t, "warning", s.log.String(), "upstream.internal")
		contains(t, "warning", s.log.String(), `"redirect_url_host":"127.0.0.1"`)
	}},
	{"return_to", "a browser is sent to a path of this site or to a trusted origin, and nowhere else", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{config: func(c *core.Config) { c.TrustedOrigins = []string{"https://app.example"} }})
		for returnTo, want := range map[string]string{
			"/page?a=b&c=%2F":            "/page?a=b&c=%2F",
			"https://app.example/x?y=z":  "https://app.example/x?y=z",
			"https://evil.example/":      "/welcome",
			"//evil.example":             "/welcome",
			`/\evil.example`:             "/welcome",
			`/./\evil.example`:           "/welcome",
			"/..//evil.example":          "/evil.example",
			"/\t/evil.example":           "/welcome",
			"https://app.example.evil/":  "/welcome",
			"https://app.example@evil/":  "/welcome",
			"javascript:alert(1)":        "/welcome",
			"/page#fragment":             "/welcome",
			loginPath:                    "/welcome",
			base + "/%6cogout":           "/welcome",
			"/x/.." + loginPath + "?a=b": "/welcome",
		} {
			b := s.browser()
			redirected(t, returnTo, b.visit(b.begin(returnTo)), want)
		}
	}},
}

func nothing(*site, http.ResponseWriter, *http.Request) error { return nil }

// small checks that the headers of the answer to a login are below 4 KiB, and
// what the browser then has of sign-ins, too.
func small(t *testing.T, login *answer, b *browser) {
	t.Helper()
	equal(t, "login", login.status, http.StatusSeeOther)
	var head strings.Builder
	_ = login.header.Write(&head)
	if head.Len() >= 4<<10 {
		t.Errorf("the headers of the answer are %d bytes", head.Len())
	}
	size := 0
	for _, c := range b.jar() {
		size += len(c.Name + "=" + c.Value + "; ")
	}
	if size >= 4<<10 {
		t.Errorf("%d attempts are %d bytes of cookies", len(flowCookies(b.jar())), size)
	}
}
