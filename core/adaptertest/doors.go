package adaptertest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/mxmconnect/mxmconnect/core"
)

var doorCases = []testCase{
	{"printed context", "a request's context that is printed shows no cookie", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{pages: []page{{"/print", true, func(_ *site, w http.ResponseWriter, r *http.Request) error {
			child, cancel := context.WithCancel(r.Context())
			defer cancel()
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
				fmt.Fprintf(w, verb+"\n"+verb+"\n", r.Context(), child)
			}
			return nil
		}}}})
		b := s.browser()
		b.signIn()
		a := b.visit("/print")
		lacks(t, "page", a.body, b.session().Value)
		lacks(t, "page", a.body, fmt.Sprintf("%x", b.session().Value))
		contains(t, "page", a.body, "mxmconnect session")
	}},
	{"inherited session", "who signs in does not get what another user has left in the session, also with two cookies and the application's own LoadAndSave", func(t *testing.T, adapter Adapter) {
		own := core.NewSessions(core.NewMemory())
		own.Codec, own.HashTokenInStore, own.Cookie.Name = scs.GobCodec{}, false, "app_session"
		note := func(_ *site, w http.ResponseWriter, r *http.Request) error {
			_, err := fmt.Fprint(w, "note="+own.GetString(r.Context(), "note"))
			return err
		}
		s := start(t, adapter, setup{
			config: func(c *core.Config) { c.Sessions = own },
			around: own.LoadAndSave,
			pages: []page{{"/put", false, func(_ *site, w http.ResponseWriter, r *http.Request) error {
				own.Put(r.Context(), "note", "alice's")
				return nil
			}}, {"/note", false, note}},
		})
		session := func(b *browser) string {
			for _, c := range b.jar() {
				if c.Name == own.Cookie.Name {
					return c.Name + "=" + c.Value
				}
			}
			t.Fatal("there is no session cookie")
			return ""
		}
		first := s.browser()
		first.signIn()
		first.visit("/put")
		equal(t, "note", first.visit("/note").body, "note=alice's")
		s.mxm.SignInAs(bob)
		next := s.browser()
		callback := next.begin("")
		a := next.do(http.MethodGet, callback, "Cookie", session(first)+"; "+own.Cookie.Name+"=planted")
		equal(t, "callback", a.status, http.StatusSeeOther)
		equal(t, "user", next.user(), bob)
		equal(t, "note", next.visit("/note").body, "note=")
	}},
	{"plain origin", "on https a form of the same host's http page is refused, where the browser sends only Origin", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{https: true})
		b := s.browser()
		b.signIn()
		for _, path := range []string{logoutPath, base + "/disconnect"} {
			refused(t, path, b.do(http.MethodPost, path, "Origin", strings.Replace(s.url, "https:", "http:", 1)), http.StatusForbidden, "cross_origin")
		}
		equal(t, "user", b.user(), alice)
		redirected(t, "logout", b.do(http.MethodPost, logoutPath, "Origin", s.url), "/bye")
	}},
	{"error after headers", "WriteError drops what the handler has said about caching", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{pages: []page{{"/fails", false, func(_ *site, w http.ResponseWriter, r *http.Request) error {
			for name, value := range map[string]string{
				"Cache-Control": "public, max-age=3600", "ETag": `"v1"`, "Last-Modified": "Mon, 02 Jan 2006 15:04:05 GMT",
				"Expires": "Mon, 02 Jan 2106 15:04:05 GMT", "Content-Length": "5",
			} {
				w.Header().Set(name, value)
			}
			core.WriteError(w, r, core.ErrUnavailable)
			return nil
		}}}})
		for _, headers := range [][]string{navigation, fetch} {
			a := s.browser().do(http.MethodGet, "/fails", headers...)
			equal(t, "status", a.status, http.StatusServiceUnavailable)
			equal(t, "Cache-Control", strings.Join(a.header["Cache-Control"], ";"), "no-store")
			for _, name := range []string{"ETag", "Last-Modified", "Expires"} {
				equal(t, name, a.header.Get(name), "")
			}
			contains(t, "body", a.body, "unavailable")
		}
	}},
	{"embedded", "only a document is sent to sign in, and nothing that is embedded in a page", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{pages: []page{{"/me", true, nothing}}})
		for _, dest := range []string{"object", "embed", "fencedframe", "iframe", "frame"} {
			for site, code := range map[string]string{"cross-site": "cross_origin", "same-site": "bad_request", "same-origin": "bad_request"} {
				headers := []string{"Accept", "text/html", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", dest, "Sec-Fetch-Site", site}
				a := s.browser().do(http.MethodGet, loginPath, headers...)
				equal(t, dest+" "+site+": Location", a.location(), "")
				equal(t, dest+" "+site+": cookies", len(a.cookies), 0)
				contains(t, dest+" "+site, a.body, code)
				refused(t, dest+" "+site, s.browser().do(http.MethodGet, "/me", headers...), http.StatusUnauthorized, "not_signed_in")
			}
		}
		for _, dest := range []string{"document", ""} {
			a := s.browser().do(http.MethodGet, loginPath, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", dest, "Sec-Fetch-Site", "cross-site")
			equal(t, "login as "+dest, a.status, http.StatusSeeOther)
		}
	}},
	{"no upgrade", "where the connection cannot be taken over, a WebSocket is refused, and not answered with 101 and then nothing", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{
			around: func(h http.Handler) http.Handler { return http.TimeoutHandler(h, time.Minute, "") },
			pages:  []page{{"/socket", true, func(_ *site, w http.ResponseWriter, r *http.Request) error { upgrade(w); return nil }}},
		})
		b := s.browser()
		b.signIn()
		conn, err := net.Dial("tcp", s.server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintf(conn, "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nCookie: %s=%s\r\n\r\n", b.session().Name, b.session().Value)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		equal(t, "status", res.StatusCode, http.StatusNotImplemented)
	}},
	{"refusals are events", "a refused cross-origin POST and a refused request without a user are an event, and a redirect to the login is none", func(t *testing.T, adapter Adapter) {
		var mu sync.Mutex
		var events []string
		seen := func() []string {
			mu.Lock()
			defer mu.Unlock()
			all := events
			events = nil
			return all
		}
		s := start(t, adapter, setup{pages: []page{{"/me", true, nothing}}, config: func(c *core.Config) {
			c.OnEvent = func(_ context.Context, e core.Event) {
				mu.Lock()
				defer mu.Unlock()
				events = append(events, string(e.Kind)+" "+e.Reason)
			}
		}})
		b := s.browser()
		b.do(http.MethodPost, logoutPath, "Origin", "https://evil.example")
		equal(t, "cross-origin", strings.Join(seen(), ","), "refused cross_origin")
		b.do(http.MethodGet, "/me", fetch...)
		equal(t, "a script", strings.Join(seen(), ","), "refused not_signed_in")
		b.visit("/me")
		equal(t, "a navigation", strings.Join(seen(), ","), "")
		b.signIn()
		seen()
		s.store.findFails.Store(true)
		b.visit("/me")
		equal(t, "an outage", strings.Join(slices.Compact(seen()), ","), "refused unavailable")
	}},
}

// upgrade answers as coder/websocket does: it looks for an http.Hijacker, says
// 101, and only then takes the connection over.
func upgrade(w http.ResponseWriter) {
	hijacker, found := w.(http.Hijacker)
	for below := w; !found; {
		u, ok := below.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			http.Error(w, "no Hijacker", http.StatusNotImplemented)
			return
		}
		below = u.Unwrap()
		hijacker, found = below.(http.Hijacker)
	}
	w.WriteHeader(http.StatusSwitchingProtocols)
	if gin, ok := w.(interface{ WriteHeaderNow() }); ok {
		gin.WriteHeaderNow()
	}
	conn, _, err := hijacker.Hijack()
	if err != nil {
		_, _ = io.WriteString(w, err.Error())
		return
	}
	conn.Close()
}
