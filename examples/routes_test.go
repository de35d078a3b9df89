package examples_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// demos are the frameworks of the demo app.
var demos = []string{"nethttp", "gin", "echo"}

func eachDemo(t *testing.T, test func(t *testing.T, name string)) {
	for _, name := range demos {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, name)
		})
	}
}

func TestSignedOut(t *testing.T) {
	eachDemo(t, func(t *testing.T, name string) {
		app, c := startDemo(t, name, newServer(t)), browser(t)
		res := navigate(t, c, app.URL+"/")
		require.Equal(t, 200, res.StatusCode)
		require.Contains(t, res.body, "Sign in with Musixmatch")
		require.Equal(t, "text/html; charset=utf-8", res.Header.Get("Content-Type"))
		require.Empty(t, res.Cookies(), "a visitor gets no cookie")

		for _, path := range []string{"/me", "/whoami", "/verify", "/sessions", "/slow?ms=0", "/slow?ms=nonsense"} {
			res := get(t, c, app.URL+path)
			require.Equal(t, 401, res.StatusCode, path)
			require.Equal(t, `{"error":"not_signed_in","login_url":"/auth/musixmatch/login"}`+"\n", res.body)
			require.Equal(t, "application/json", res.Header.Get("Content-Type"))
			res = navigate(t, c, app.URL+path)
			require.Equal(t, 303, res.StatusCode, path)
			require.Equal(t, app.URL, opened.FindString(app.URL+res.Header.Get("Location")))
		}
		require.Equal(t, "/auth/musixmatch/login?return_to=%2Fme", navigate(t, c, app.URL+"/me").Header.Get("Location"))

		res = get(t, c, app.URL+"/healthz")
		require.Equal(t, 200, res.StatusCode)
		require.Equal(t, "ok", res.body)
		require.Empty(t, res.Header.Get("Vary"), "no session is looked at")

		res = post(t, c, app.URL+"/auth/musixmatch/logout")
		require.Equal(t, 303, res.StatusCode)
		require.Equal(t, "/", res.Header.Get("Location"))
		for _, path := range []string{"/auth/musixmatch/disconnect", "/sessions/end"} {
			res = post(t, c, app.URL+path)
			require.Equal(t, 401, res.StatusCode)
			require.Equal(t, "not_signed_in", res.code())
		}
	})
}

func TestSignedIn(t *testing.T) {
	eachDemo(t, func(t *testing.T, name string) {
		srv := newServer(t)
		app, c := startDemo(t, name, srv), browser(t)

		callback := authorize(t, c, app.URL+"/auth/musixmatch/login?return_to=/slow%3Fms=1")
		res := get(t, c, callback)
		require.Equal(t, 303, res.StatusCode)
		require.Equal(t, "/slow?ms=1", res.Header.Get("Location"))
		res = get(t, c, callback)
		require.Equal(t, 303, res.StatusCode, "a repeated callback")

		res = navigate(t, c, app.URL+"/")
		require.Equal(t, 200, res.StatusCode)
		require.Contains(t, res.body, ada)
		require.Contains(t, res.body, "The API knows the user as "+ada)
		require.Contains(t, res.body, "Musixmatch confirms the connection.")
		require.Contains(t, res.body, `action="/auth/musixmatch/logout"`)
		require.Contains(t, res.body, `action="/auth/musixmatch/disconnect"`)
		require.NotContains(t, res.body, "<script")
		require.Contains(t, res.Header.Get("Content-Security-Policy"), "default-src 'none'")
		require.Equal(t, "no-store", res.Header.Get("Cache-Control"))

		for path, want := range map[string]string{
			"/me":         `{"user_id":"` + ada + `"}`,
			"/slow?ms=0":  `{"user_id":"` + ada + `"}`,
			"/whoami":     `{"sub":"` + ada + `"}`,
			"/verify":     `{"active":true}`,
			"/slow?ms=10": `{"user_id":"` + ada + `"}`,
		} {
			res := get(t, c, app.URL+path)
			require.Equal(t, 200, res.StatusCode, path)
			require.JSONEq(t, want, res.body, path)
			require.Equal(t, "application/json", res.Header.Get("Content-Type"), path)
			require.Equal(t, "no-store", res.Header.Get("Cache-Control"), path)
		}
		for _, ms := range []string{"", "-1", "30001", "1.5", "99999999999999999999", "x"} {
			res := get(t, c, app.URL+"/slow?ms="+ms)
			require.Equal(t, 400, res.StatusCode, ms)
			require.Equal(t, "bad_request", res.code())
		}
		require.Equal(t, 400, get(t, c, app.URL+"/slow").StatusCode)

		require.Equal(t, "ok", get(t, c, app.URL+"/healthz").body)
		res = get(t, c, app.URL+"/auth/musixmatch/login")
		require.Equal(t, 303, res.StatusCode)
		require.Contains(t, res.Header.Get("Location"), srv.URL+"/oauth/authorize?")

		res = post(t, c, app.URL+"/auth/musixmatch/logout")
		require.Equal(t, 303, res.StatusCode)
		require.Equal(t, "/", res.Header.Get("Location"))
		require.Equal(t, 401, get(t, c, app.URL+"/me").StatusCode)
		require.Len(t, srv.Live(ada), 1, "the grant stays")

		signIn(t, c, app.URL)
		res = post(t, c, app.URL+"/auth/musixmatch/disconnect")
		require.Equal(t, 303, res.StatusCode)
		require.Equal(t, "/", res.Header.Get("Location"))
		require.Equal(t, 401, get(t, c, app.URL+"/me").StatusCode)
	})
}

func TestSignedInBrowsers(t *testing.T) {
	eachDemo(t, func(t *testing.T, name string) {
		app := startDemo(t, name, newServer(t))
		laptop, phone := browser(t), browser(t)
		signIn(t, laptop, app.URL)
		signIn(t, phone, app.URL)
		type session struct {
			ID, Browser string
			SignedIn    time.Time `json:"signed_in"`
			Until       time.Time
			This        bool
		}
		sessions := func() (all struct{ Sessions []session }) {
			res := get(t, laptop, app.URL+"/sessions")
			require.Equal(t, 200, res.StatusCode)
			require.NoError(t, json.Unmarshal([]byte(res.body), &all))
			return all
		}
		end := func(site string, form url.Values) answer {
			req, err := http.NewRequest(http.MethodPost, app.URL+"/sessions/end", strings.NewReader(form.Encode()))
			require.NoError(t, err)
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			req.Header.Set("Sec-Fetch-Site", site)
			res, err := laptop.Do(req)
			return read(t, res, err)
		}
		all := sessions().Sessions
		require.Len(t, all, 2)
		require.False(t, all[0].This)
		require.True(t, all[1].This)
		require.True(t, all[0].SignedIn.Before(all[0].Until))
		page := navigate(t, laptop, app.URL+"/").body
		require.Equal(t, 2, strings.Count(page, "<li>Unknown browser, since "), page)
		require.Equal(t, 1, strings.Count(page, "(this one)"))

		require.Equal(t, "cross_origin", end("cross-site", url.Values{"all": {"1"}}).code())
		require.Equal(t, "not_found", end("same-origin", url.Values{"id": {"nonsense"}}).code())
		require.Len(t, sessions().Sessions, 2)
		res := end("same-origin", url.Values{"id": {all[0].ID}})
		require.Equal(t, 303, res.StatusCode)
		require.Equal(t, "/", res.Header.Get("Location"))
		require.Equal(t, 401, get(t, phone, app.URL+"/me").StatusCode)
		require.Equal(t, all[1:], sessions().Sessions)

		signIn(t, phone, app.URL)
		require.Equal(t, 303, end("same-origin", url.Values{"all": {"1"}}).StatusCode)
		require.Equal(t, 401, get(t, phone, app.URL+"/me").StatusCode)
		require.Equal(t, 401, get(t, laptop, app.URL+"/me").StatusCode)
	})
}

// Every error has a code, as JSON or as a page with a way forward, and echoes
// nothing that came in.
func TestErrors(t *testing.T) {
	eachDemo(t, func(t *testing.T, name string) {
		srv := newServer(t)
		app := startDemo(t, name, srv)
		const evil = "%3Cscript%3Ecanary"
		cases := []struct {
			why, method, path string
			status            int
			code              string
		}{
			{"unknown", "GET", "/nothing/" + evil, 404, "not_found"},
			{"unknown below a route", "GET", "/me/" + evil, 404, "not_found"},
			{"wrong method", "POST", "/me", 405, "method_not_allowed"},
			{"wrong method", "DELETE", "/", 405, "method_not_allowed"},
			{"wrong method", "PUT", "/healthz", 405, "method_not_allowed"},
			{"login by POST", "POST", "/auth/musixmatch/login", 405, "method_not_allowed"},
			{"logout by link", "GET", "/auth/musixmatch/logout", 405, "method_not_allowed"},
			{"callback by HEAD", "HEAD", "/auth/musixmatch/callback", 405, ""},
			{"nothing in it", "GET", "/auth/musixmatch/callback", 400, "bad_request"},
			{"two codes", "GET", "/auth/musixmatch/callback?code=a&code=b&state=c", 400, "bad_request"},
			{"forged", "GET", "/auth/musixmatch/callback?code=" + evil + "&state=" + evil, 400, "bad_state"},
			{"forged refusal", "GET", "/auth/musixmatch/callback?error=" + evil + "&state=" + evil, 400, "bad_state"},
		}
		for _, test := range cases {
			for _, accept := range []string{"", "text/html"} {
				req, err := http.NewRequest(test.method, app.URL+test.path, nil)
				require.NoError(t, err)
				req.Header.Set("Accept", accept)
				res, err := browser(t).Do(req)
				a := read(t, res, err)
				require.Equal(t, test.status, a.StatusCode, "%s %s", test.why, a.body)
				require.NotContains(t, a.body, "canary")
				require.NotContains(t, strings.Join(a.Header.Values("Location"), ""), "canary")
				switch {
				case test.method == "HEAD":
					require.Empty(t, a.body)
				case accept == "":
					require.Equal(t, test.code, a.code(), test.why)
				default:
					require.Contains(t, a.body, "<code>"+test.code+"</code>", test.why)
					require.Contains(t, a.body, "<a href=", test.why)
					require.Contains(t, a.Header.Get("Content-Security-Policy"), "default-src 'none'")
				}
				if test.status == 405 {
					require.NotEmpty(t, a.Header.Get("Allow"), test.why)
				}
			}
		}

		c := browser(t)
		srv.Deny()
		res := navigate(t, c, authorize(t, c, app.URL+"/auth/musixmatch/login"))
		require.Equal(t, 403, res.StatusCode)
		require.Contains(t, res.body, "<code>denied</code>")
		require.Contains(t, res.body, `href="/auth/musixmatch/login"`)
		require.Equal(t, 401, get(t, c, app.URL+"/me").StatusCode)
		srv.SignInAs(ada)

		srv.Fail(mxmtest.Token, mxmtest.HTML(502))
		res = get(t, c, authorize(t, c, app.URL+"/auth/musixmatch/login"))
		require.Equal(t, 502, res.StatusCode)
		require.Equal(t, "upstream", res.code())
		srv.Fail(mxmtest.Metadata, mxmtest.DropRequest, mxmtest.Always())
		res = get(t, c, authorize(t, c, app.URL+"/auth/musixmatch/login"))
		require.Equal(t, 503, res.StatusCode)
		require.Equal(t, "unavailable", res.code())
		require.NotEmpty(t, res.Header.Get("Retry-After"))
		srv.ClearFaults()

		signIn(t, c, app.URL)
		req, err := http.NewRequest("POST", app.URL+"/auth/musixmatch/logout", nil)
		require.NoError(t, err)
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		evilPost, err := c.Do(req)
		require.Equal(t, "cross_origin", read(t, evilPost, err).code())
		require.Equal(t, 200, get(t, c, app.URL+"/me").StatusCode)

		for _, fault := range []struct {
			with   mxmtest.Fault
			status int
			code   string
		}{
			{mxmtest.Status(500, `{"x":1}`, 0), 502, "upstream"},
			{mxmtest.Status(404, `{}`, 0), 502, "upstream"},
			{mxmtest.HTML(200), 502, "upstream"},
			{mxmtest.DropRequest, 503, "unavailable"},
		} {
			srv.ClearFaults()
			srv.Fail(mxmtest.API, fault.with, mxmtest.Always())
			res := get(t, c, app.URL+"/whoami")
			require.Equal(t, fault.status, res.StatusCode, res.body)
			require.Equal(t, fault.code, res.code())
		}
		page := navigate(t, c, app.URL+"/")
		require.Equal(t, 200, page.StatusCode, "the page is of use while the API is down")
		require.Contains(t, page.body, "<code>unavailable</code>")
		srv.ClearFaults()

		srv.Revoke(ada)
		res = get(t, c, app.URL+"/whoami")
		require.Equal(t, 401, res.StatusCode)
		require.Equal(t, "reconnect", res.code())
		require.Equal(t, "reconnect", get(t, c, app.URL+"/verify").code())
		require.Equal(t, 200, get(t, c, app.URL+"/me").StatusCode, "the session goes on")
		require.Contains(t, navigate(t, c, app.URL+"/").body, "Connect again")
		signIn(t, c, app.URL)
		require.Equal(t, 200, get(t, c, app.URL+"/verify").StatusCode)
	})
}

// Without an API there is nothing to ask.
func TestNoAPI(t *testing.T) {
	eachDemo(t, func(t *testing.T, name string) {
		srv := newServer(t)
		app, c := startDemo(t, name, srv, "MXM_API_URL="), browser(t)
		signIn(t, c, app.URL)
		res := get(t, c, app.URL+"/whoami")
		require.Equal(t, 404, res.StatusCode)
		require.Equal(t, "not_found", res.code())
		require.Contains(t, navigate(t, c, app.URL+"/").body, "MXM_API_URL")
	})
}

func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	eachDemo(t, func(t *testing.T, name string) {
		srv := newServer(t)
		app, c := startDemo(t, name, srv, "MXM_IDLE_TIMEOUT=1s"), browser(t)
		signIn(t, c, app.URL)
		for range 8 { // in use, it lasts
			require.Equal(t, 200, get(t, c, app.URL+"/me").StatusCode)
			time.Sleep(300 * time.Millisecond)
		}
		time.Sleep(2500 * time.Millisecond)
		require.Equal(t, 401, get(t, c, app.URL+"/me").StatusCode)
	})
}

// The first command of a new user: nothing is set, and it works.
func TestOffline(t *testing.T) {
	eachDemo(t, func(t *testing.T, name string) {
		app, c := start(t, name), browser(t)
		require.Contains(t, navigate(t, c, app.URL+"/").body, "Offline")
		login := get(t, c, app.URL+"/auth/musixmatch/login").Header.Get("Location")
		page := navigate(t, c, login)
		require.Contains(t, page.body, "Allow")
		request := login[strings.Index(login, "?")+1:]
		res, err := c.PostForm(opened.FindString(login)+formAction(page.body), map[string][]string{
			"request": {request}, "user": {ben}, "decision": {"allow"}})
		a := read(t, res, err)
		require.Equal(t, 303, a.StatusCode, a.body)
		require.Equal(t, 303, get(t, c, a.Header.Get("Location")).StatusCode)
		require.JSONEq(t, `{"sub":"`+ben+`"}`, get(t, c, app.URL+"/whoami").body)
		eventually(t, "it says so", func() bool { return strings.Contains(app.stderr.String(), "offline mode") })
		require.Zero(t, app.stop())
	})
}

func formAction(page string) string {
	_, action, _ := strings.Cut(page, `action="`)
	action, _, _ = strings.Cut(action, `"`)
	return action
}
