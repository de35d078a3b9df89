package adaptertest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/mxmconnect/mxmconnect/core"
)

var outageCases = []testCase{
	{"store unreadable", "while the session store cannot be read public pages work, protected ones answer 503, and nobody is sent to sign in", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{pages: []page{
			{"/public", false, func(_ *site, w http.ResponseWriter, _ *http.Request) error {
				_, err := io.WriteString(w, "public")
				return err
			}},
			{"/me", true, func(_ *site, w http.ResponseWriter, _ *http.Request) error {
				_, err := io.WriteString(w, "PROTECTED")
				return err
			}},
			{"/put", false, func(s *site, w http.ResponseWriter, r *http.Request) error {
				s.put(r, "x")
				_, err := io.WriteString(w, "UNSAVED")
				return err
			}},
		}})
		b := s.browser()
		b.signIn()
		session := b.session().Value
		s.store.findFails.Store(true)
		a := b.visit("/public")
		equal(t, "public: status", a.status, http.StatusOK)
		equal(t, "public: body", a.body, "public")
		for _, headers := range [][]string{navigation, fetch} {
			a = b.do(http.MethodGet, "/me", headers...)
			refused(t, "protected", a, http.StatusServiceUnavailable, "unavailable")
			equal(t, "Retry-After", a.header.Get("Retry-After") != "", true)
			lacks(t, "protected", a.body, "PROTECTED")
		}
		a = b.visit("/put") // a new session would take the place of one that is out of reach
		refused(t, "a session write", a, http.StatusServiceUnavailable, "unavailable")
		lacks(t, "a session write", a.body, "UNSAVED")
		equal(t, "session cookie", b.session().Value, session)
		s.store.findFails.Store(false)
		equal(t, "user afterwards", b.user(), alice)
	}},
	{"nobody or not known", "a page without RequireUser can tell that nobody is signed in from that nobody can say", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{pages: []page{{"/who", false, func(s *site, w http.ResponseWriter, r *http.Request) error {
			user, err := s.auth.User(r.Context())
			if err != nil {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
			_, _ = fmt.Fprintf(w, "user=%s unavailable=%t", user, errors.Is(err, core.ErrUnavailable))
			return nil
		}}}})
		b := s.browser()
		equal(t, "a visitor", b.visit("/who").body, "user= unavailable=false")
		b.signIn()
		equal(t, "a user", b.visit("/who").body, "user="+alice+" unavailable=false")
		s.store.findFails.Store(true)
		a := b.visit("/who")
		equal(t, "during an outage", a.body, "user= unavailable=true")
		equal(t, "during an outage", a.status, http.StatusServiceUnavailable)
		equal(t, "a visitor without a session, during an outage", s.browser().visit("/who").body, "user= unavailable=false")
	}},
	{"save fails", "when the session cannot be saved the answer is 503, and no byte or header of the handler's is sent", func(t *testing.T, adapter Adapter) {
		answer := func(write func(w http.ResponseWriter) error) func(*site, http.ResponseWriter, *http.Request) error {
			return func(s *site, w http.ResponseWriter, r *http.Request) error {
				s.put(r, "unsaved")
				w.Header().Set("X-Protected", "yes")
				w.Header().Set("Location", "/protected")
				w.Header().Set("Set-Cookie", "protected=yes")
				return write(w)
			}
		}
		ways := map[string]func(w http.ResponseWriter) error{
			"/write": func(w http.ResponseWriter) error {
				_, err := io.WriteString(w, "PROTECTED")
				if err == nil {
					t.Error("the handler was not told that nothing is sent")
				}
				return err
			},
			"/header": func(w http.ResponseWriter) error {
				w.WriteHeader(http.StatusSeeOther)
				_, _ = io.WriteString(w, "PROTECTED")
				return nil
			},
			"/flush": func(w http.ResponseWriter) error {
				w.(http.Flusher).Flush()
				_, _ = io.WriteString(w, "PROTECTED")
				w.(http.Flusher).Flush()
				return nil
			},
			"/hijack": func(w http.ResponseWriter) error {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err == nil {
					t.Error("the handler got the connection")
					_, _ = io.WriteString(conn, "PROTECTED")
					conn.Close()
				}
				return nil
			},
			"/nothing": func(http.ResponseWriter) error { return nil },
			"/error":   func(http.ResponseWriter) error { return errors.New("PROTECTED") },
		}
		var pages []page
		for path, write := range ways {
			pages = append(pages, page{path, false, answer(write)})
		}
		s := start(t, adapter, setup{pages: pages})
		b := s.browser()
		b.signIn()
		s.store.writeFails.Store(true)
		for path := range ways {
			a := b.visit(path)
			refused(t, path, a, http.StatusServiceUnavailable, "unavailable")
			lacks(t, path, a.body, "PROTECTED")
			equal(t, path+": a header of the handler", a.header.Get("X-Protected"), "")
			equal(t, path+": cookies", len(a.cookies), 0)
			equal(t, path+": Retry-After", a.header.Get("Retry-After") != "", true)
		}
		s.store.writeFails.Store(false)
		equal(t, "user afterwards", b.user(), alice)
	}},
	{"save fails at the callback", "a sign-in whose session cannot be saved is unavailable and signs nobody in", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{})
		b := s.browser()
		callback := b.begin("/page")
		s.store.writeFails.Store(true)
		a := b.visit(callback)
		refused(t, "callback", a, http.StatusServiceUnavailable, "unavailable")
		equal(t, "session", b.session() == nil, true)
		s.store.writeFails.Store(false)
		b.signIn()
		equal(t, "user", b.user(), alice)
	}},
	{"callback during an outage", "a callback that finds the session store down spends nothing, and succeeds when it is repeated", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{})
		b := s.browser()
		b.signIn()
		callback := b.begin("/page")
		s.store.findFails.Store(true)
		refused(t, "callback", b.visit(callback), http.StatusServiceUnavailable, "unavailable")
		equal(t, "codes exchanged", s.exchanges(), 1)
		s.store.findFails.Store(false)
		redirected(t, "again", b.visit(callback), "/page")
		equal(t, "codes exchanged", s.exchanges(), 2)
	}},
	{"logout during an outage", "logout removes the cookie even when the store is down, and says that it failed", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{config: func(c *core.Config) { c.ErrorHandler = core.WriteError }})
		for _, down := range []func(bool){s.store.findFails.Store, s.store.writeFails.Store} {
			b := s.browser()
			b.signIn()
			down(true)
			a := b.submit(logoutPath)
			refused(t, "logout", a, http.StatusServiceUnavailable, "unavailable")
			contains(t, "logout", a.body, "until the session expires")
			equal(t, "session cookie", b.session() == nil, true)
			down(false)
		}
	}},
}
