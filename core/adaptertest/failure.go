package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

var errorCases = []testCase{
	{"WriteError", "with ErrorHandler core.WriteError every error is the same JSON or the same page, with a way forward and no echo", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{
			config: func(c *core.Config) { c.ErrorHandler = core.WriteError },
			pages:  []page{{"/me", true, nothing}},
		})
		b := s.browser()
		for _, c := range []struct {
			method, target, code string
			status               int
		}{
			{http.MethodPost, "/me?canary=1", "not_signed_in", http.StatusUnauthorized},
			{http.MethodGet, mxmtest.CallbackPath + "?code=canary1&state=canary2", "bad_state", http.StatusBadRequest},
			{http.MethodGet, mxmtest.CallbackPath + "?canary=<script>", "bad_request", http.StatusBadRequest},
			{http.MethodPost, loginPath + "?canary", "method_not_allowed", http.StatusMethodNotAllowed},
			{http.MethodPost, base + "/disconnect?canary", "not_signed_in", http.StatusUnauthorized},
		} {
			a := b.do(c.method, c.target)
			equal(t, c.target+": status", a.status, c.status)
			equal(t, c.target+": type", a.header.Get("Content-Type"), "application/json")
			way := ""
			if c.code == "not_signed_in" {
				way = `,"login_url":"` + loginPath + `"`
			}
			equal(t, c.target+": body", a.body, `{"error":"`+c.code+`"`+way+"}\n")
			a = b.do(c.method, c.target, "Accept", "text/html")
			equal(t, c.target+": page status", a.status, c.status)
			equal(t, c.target+": page type", a.header.Get("Content-Type"), "text/html; charset=utf-8")
			contains(t, c.target+": page", a.body, "<code>"+c.code+"</code>")
			contains(t, c.target+": page", a.body, "<a href=")
			lacks(t, c.target+": page", a.body, "canary")
			lacks(t, c.target+": page", a.body, "<script")
			private(t, c.target, a)
		}
		a := b.do(http.MethodPost, base+"/disconnect", "Origin", "https://evil.example")
		equal(t, "cross origin", a.body, `{"error":"cross_origin"}`+"\n")
	}},
	{"a page for people", "without an ErrorHandler, too, a person sees core's page, with a way forward", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{})
		s.mxm.Deny()
		b := s.browser()
		a := b.visit(b.begin(""))
		refused(t, "denied", a, http.StatusForbidden, "<code>denied</code>")
		equal(t, "type", a.header.Get("Content-Type"), "text/html; charset=utf-8")
		contains(t, "the way forward", a.body, ` href="`+loginPath+`">Sign in`)
		contains(t, "the way home", a.body, `<a href="/welcome">`)
	}},
	{"client error", "a page that fails with an error of auth.Client answers with its status and code, and any other error is 500", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{pages: []page{
			{"/lyrics", true, func(s *site, w http.ResponseWriter, r *http.Request) error {
				s.put(r, "kept")
				resp, err := s.auth.Client(r.Context(), core.UserID(r.Context())).Get(s.mxm.APIURL() + "/whoami")
				if err != nil {
					return fmt.Errorf("load the lyrics: %w", err)
				}
				defer resp.Body.Close()
				_, err = io.Copy(w, resp.Body)
				return err
			}},
			{"/note", false, (*site).note},
			{"/begun", false, func(s *site, w http.ResponseWriter, r *http.Request) error {
				_, _ = io.WriteString(w, "begun")
				return fmt.Errorf("then: %w", core.ErrReconnect)
			}},
		}})
		b := s.browser()
		b.signIn()
		contains(t, "connected", b.visit("/lyrics").body, alice)
		if err := s.auth.Disconnect(context.Background(), alice); err != nil {
			t.Fatal(err)
		}
		a := b.do(http.MethodGet, "/lyrics", fetch...)
		equal(t, "status", a.status, http.StatusUnauthorized)
		contains(t, "body", a.body, `"reconnect"`)
		lacks(t, "body", a.body, "login_url")
		equal(t, "HX-Redirect", b.do(http.MethodGet, "/lyrics", "HX-Request", "true").header.Get("HX-Redirect"), "")
		a = b.visit("/lyrics")
		equal(t, "page: status", a.status, http.StatusUnauthorized)
		contains(t, "page", a.body, "<code>reconnect</code>")
		lacks(t, "page", a.body, "lyrics: ")
		equal(t, "the session write", b.visit("/note").body, "note=kept")
		a = b.visit("/begun")
		equal(t, "an answer under way", a.status, http.StatusOK)
		contains(t, "an answer under way", a.body, "begun")
	}},
	{"ErrorHandler", "Config.ErrorHandler gets every error once, with its status, and its answer is the only one", func(t *testing.T, adapter Adapter) {
		calls := make(chan error, 10)
		s := start(t, adapter, setup{
			config: func(c *core.Config) {
				c.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) {
					calls <- err
					w.Header().Set("X-Handler", "yes")
					w.WriteHeader(http.StatusTeapot)
					_, _ = w.Write([]byte("handled"))
				}
			},
			pages: []page{{"/me", true, nothing}},
		})
		for target, want := range map[string]error{"/me": core.ErrNotSignedIn, mxmtest.CallbackPath + "?code=x&state=y": core.ErrState} {
			a := s.browser().do(http.MethodGet, target)
			equal(t, "status", a.status, http.StatusTeapot)
			equal(t, "body", a.body, "handled")
			equal(t, "header", a.header.Get("X-Handler"), "yes")
			if len(calls) != 1 {
				t.Fatalf("%s: the handler was called %d times", target, len(calls))
			}
			if err := <-calls; !errors.Is(err, want) {
				t.Errorf("%s: the handler got %v", target, err)
			}
		}
	}},
	{"handler error", "a page that fails after a session write is an error with exactly one cookie, and the write is kept", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{pages: []page{
			{"/fail", false, func(s *site, w http.ResponseWriter, r *http.Request) error {
				s.put(r, "kept")
				return errors.New("a mistake")
			}},
			{"/note", false, (*site).note},
		}})
		b := s.browser()
		a := b.do(http.MethodGet, "/fail")
		equal(t, "status", a.status, http.StatusInternalServerError)
		equal(t, "cookies", len(a.cookies), 1)
		lacks(t, "body", a.body, "a mistake")
		equal(t, "saved", b.visit("/note").body, "note=kept")
		equal(t, "sessions written", s.store.commits.Load(), 1)
	}},
}
