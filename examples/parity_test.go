package examples_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// random is what differs from one answer to the next whatever answers: tokens,
// states, codes and ports.
var random = regexp.MustCompile(`127\.0\.0\.1(:|%3A)\d+|(state|code|code_challenge)=[^&\s]+|mxm_(session|flow)[^;\s]*|(?i)expires=[^;]+|"id":"[^"]+"|\d\d:\d\d UTC|\d{4}-\d\d-\d\dT[^"]+`)

// render writes everything of an answer that a client can tell, in one order.
func render(a answer) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %d\n", a.Proto, a.StatusCode)
	for _, name := range slices.Sorted(mapKeys(a.Header)) {
		if name != "Date" {
			fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(a.Header[name], " | "))
		}
	}
	return random.ReplaceAllString(b.String()+"\n"+a.body, "…")
}

func mapKeys(h http.Header) func(func(string) bool) {
	return func(yield func(string) bool) {
		for name := range h {
			if !yield(name) {
				return
			}
		}
	}
}

// differences are where a framework insists: what it answers instead begins so.
var differences = []struct{ framework, request, answer, why string }{
	{"echo", "OPTIONS /", "HTTP/1.1 204\nAllow: OPTIONS, GET, HEAD\n", "Echo answers OPTIONS itself where another method has a handler"},
	{"gin", "PUT /healthz", "HTTP/1.1 405\nAllow: GET, HEAD\n", "Gin runs all middleware before NoMethod, so there is a Vary"},
	{"gin", "PATCH /healthz", "HTTP/1.1 405\nAllow: GET, HEAD\n", "as above"},
	{"gin", "OPTIONS /healthz", "HTTP/1.1 405\nAllow: GET, HEAD\n", "as above"},
}

func different(framework, request, got string) bool {
	for _, d := range differences {
		if d.framework == framework && strings.HasPrefix(request, d.request) && strings.HasPrefix(got, d.answer) {
			return true
		}
	}
	return false
}

// The three demos are one app: a client cannot tell which framework answers, but
// for the differences that are named here.
func TestParity(t *testing.T) {
	type step struct {
		method, path, accept string
		before               func(*mxmtest.Server)
	}
	const html = "text/html"
	routes := []string{"/", "/me", "/whoami", "/verify", "/slow?ms=0", "/slow?ms=x", "/sessions", "/sessions/end", "/healthz", "/nothing", "/me/", "/%2e%2e/me", "/me%00", "/favicon.ico",
		"/auth/musixmatch/login", "/auth/musixmatch/login/", "/auth/musixmatch/login?return_to=//evil.example", "/auth/musixmatch/callback", "/auth/musixmatch/callback?code=a&state=b",
		"/auth/musixmatch/callback/?code=a&state=b", "/auth/musixmatch/logout", "/auth/musixmatch/connect", "/auth/musixmatch"}
	var steps []step
	look := func() {
		for _, path := range routes {
			for _, accept := range []string{"", html} {
				steps = append(steps, step{"GET", path, accept, nil})
			}
			for _, method := range []string{"HEAD", "PUT", "OPTIONS", "PATCH"} {
				steps = append(steps, step{method, path, "", nil})
			}
		}
		steps = append(steps, step{"POST", "/me", "", nil}, step{"POST", "/auth/musixmatch/login", html, nil}, step{"DELETE", "/auth/musixmatch/disconnect", "", nil})
	}
	look() // signed out
	steps = append(steps, step{"POST", "/auth/musixmatch/logout", "", nil}, step{"POST", "/auth/musixmatch/disconnect", "", nil},
		step{"SIGN IN", "/auth/musixmatch/login?return_to=/me", "", nil})
	look() // signed in
	steps = append(steps,
		step{"GET", "/whoami", "", func(s *mxmtest.Server) { s.Fail(mxmtest.API, mxmtest.HTML(500)) }},
		step{"GET", "/verify", html, func(s *mxmtest.Server) { s.Fail(mxmtest.Metadata, mxmtest.DropRequest) }},
		step{"GET", "/", html, func(s *mxmtest.Server) { s.Fail(mxmtest.API, mxmtest.DropRequest) }},
		step{"POST", "/auth/musixmatch/logout", "", nil},
		step{"GET", "/me", "", nil},
		step{"SIGN IN", "/auth/musixmatch/login", html, func(s *mxmtest.Server) { s.Deny() }},
		step{"SIGN IN", "/auth/musixmatch/login", "", func(s *mxmtest.Server) { s.Fail(mxmtest.Token, mxmtest.HTML(200)) }},
		step{"SIGN IN", "/auth/musixmatch/login", "", nil},
		step{"GET", "/verify", "", func(s *mxmtest.Server) { s.Revoke(ada) }},
		step{"GET", "/", html, nil},
		step{"SIGN IN", "/auth/musixmatch/login", "", nil},
		step{"POST", "/auth/musixmatch/disconnect", "", nil},
	)

	type running struct {
		srv *mxmtest.Server
		app *process
		c   *http.Client
	}
	var all []running
	for _, name := range demos {
		srv := newServer(t)
		all = append(all, running{srv, startDemo(t, name, srv), browser(t)})
	}
	for _, s := range steps {
		var first string
		for i, r := range all {
			if s.before != nil {
				s.before(r.srv)
			}
			got := render(take(t, r.c, r.app.URL, s.method, s.path, s.accept))
			if s.before != nil {
				r.srv.SignInAs(ada)
			}
			if i == 0 {
				first = got
				continue
			}
			if !different(demos[i], s.method+" "+s.path, got) {
				assert.Equal(t, first, got, "%s: %s %s (%s)", demos[i], s.method, s.path, s.accept)
			}
		}
	}
}

func take(t *testing.T, c *http.Client, base, method, path, accept string) answer {
	t.Helper()
	target := base + path
	if method == "SIGN IN" {
		method, target = "GET", authorize(t, c, target)
	}
	req, err := http.NewRequest(method, target, nil)
	require.NoError(t, err)
	_, err = url.Parse(target)
	require.NoError(t, err)
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	res, err := c.Do(req)
	return read(t, res, err)
}
