package adaptertest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// firstBytes are the ways in which an answer can begin. Each writes to the
// session first.
var firstBytes = []struct {
	name   string
	status int
	body   string
	write  func(w http.ResponseWriter, r *http.Request) error
}{
	{"WriteHeader", http.StatusCreated, "", func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusCreated)
		return nil
	}},
	{"NoContent", http.StatusNoContent, "", func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}},
	{"Write", http.StatusOK, "body", func(w http.ResponseWriter, _ *http.Request) error {
		_, err := w.Write([]byte("body"))
		return err
	}},
	{"WriteString", http.StatusOK, "body", func(w http.ResponseWriter, _ *http.Request) error {
		_, err := io.WriteString(w, "body")
		return err
	}},
	{"Flusher", http.StatusOK, "body", func(w http.ResponseWriter, _ *http.Request) error {
		w.(http.Flusher).Flush()
		_, err := io.WriteString(w, "body")
		return err
	}},
	{"ResponseController", http.StatusOK, "body", func(w http.ResponseWriter, _ *http.Request) error {
		control := http.NewResponseController(w)
		err := errors.Join(control.SetWriteDeadline(time.Now().Add(time.Minute)), control.Flush())
		_, writeErr := io.WriteString(w, "body")
		return errors.Join(err, writeErr)
	}},
	{"Copy", http.StatusOK, "body", func(w http.ResponseWriter, _ *http.Request) error {
		_, err := io.Copy(w, struct{ io.Reader }{strings.NewReader("body")}) // no WriterTo: ReadFrom, if w has it
		return err
	}},
	{"Redirect", http.StatusSeeOther, "", func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(http.StatusSeeOther)
		return nil
	}},
	{"early hints", http.StatusOK, "body", func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusEarlyHints)
		_, err := io.WriteString(w, "body")
		return err
	}},
	{"nothing", http.StatusOK, "", func(http.ResponseWriter, *http.Request) error { return nil }},
}

var writerCases = []testCase{
	{"first byte", "a session is saved before the first byte, whatever writes it, and exactly one cookie is set", func(t *testing.T, adapter Adapter) {
		var pages []page
		for i, way := range firstBytes {
			pages = append(pages, page{fmt.Sprintf("/way%d", i), false, func(s *site, w http.ResponseWriter, r *http.Request) error {
				s.put(r, way.name)
				return way.write(w, r)
			}})
		}
		s := start(t, adapter, setup{pages: append(pages, page{"/note", false, (*site).note})})
		for i, way := range firstBytes {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				what := method + " " + way.name
				b := s.browser()
				a := b.do(method, fmt.Sprintf("/way%d", i))
				equal(t, what+": status", a.status, way.status)
				if method == http.MethodGet {
					equal(t, what+": body", a.body, way.body)
				}
				equal(t, what+": cookies", len(a.cookies), 1)
				equal(t, what+": saved", b.visit("/note").body, "note="+way.name)

				again := b.do(method, fmt.Sprintf("/way%d", i)) // the token does not change, so no cookie is sent
				equal(t, what+": cookies the second time", len(again.cookies), 0)
			}
		}
	}},
	{"streaming", "an event reaches the client while the handler is still running", func(t *testing.T, adapter Adapter) {
		next, over := make(chan string), make(chan struct{})
		s := start(t, adapter, setup{pages: []page{{"/events", false, func(s *site, w http.ResponseWriter, r *http.Request) error {
			s.put(r, "streamed")
			w.Header().Set("Content-Type", "text/event-stream")
			for {
				var event string
				select {
				case event = <-next:
				case <-over:
					return nil
				}
				if _, err := fmt.Fprintf(w, "data: %s\n\n", event); err != nil {
					return err
				}
				w.(http.Flusher).Flush()
			}
		}}, {"/note", false, (*site).note}}})
		defer close(over)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		send := func(event string) { // taken only when the one before has been written
			select {
			case next <- event:
			case <-ctx.Done():
			}
		}
		b := s.browser()
		go send("one")
		r, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/events", nil)
		res, err := b.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		equal(t, "cookies", len(res.Cookies()), 1)
		lines := bufio.NewScanner(res.Body)
		for i, event := range []string{"one", "two", "three"} {
			if i > 0 {
				send(event)
			}
			lines.Scan()
			equal(t, "event", lines.Text(), "data: "+event)
			lines.Scan()
		}
		equal(t, "in another request, while the stream is open", b.visit("/note").body, "note=streamed")
	}},
	{"download", "a file is served whole and in ranges, with the session saved first", func(t *testing.T, adapter Adapter) {
		file := filepath.Join(t.TempDir(), "song.txt")
		content := strings.Repeat("la", 200<<10)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		s := start(t, adapter, setup{pages: []page{{"/file", false, func(s *site, w http.ResponseWriter, r *http.Request) error {
			s.put(r, "downloaded")
			http.ServeFile(w, r, file)
			return nil
		}}, {"/note", false, (*site).note}}})
		b := s.browser()
		a := b.do(http.MethodGet, "/file")
		equal(t, "length", len(a.body), len(content))
		equal(t, "cookies", len(a.cookies), 1)
		a = b.do(http.MethodGet, "/file", "Range", "bytes=2-5")
		equal(t, "status", a.status, http.StatusPartialContent)
		equal(t, "range", a.body, "lala")
		a = b.do(http.MethodHead, "/file")
		equal(t, "HEAD: Content-Length", a.header.Get("Content-Length"), fmt.Sprint(len(content)))
		equal(t, "saved", b.visit("/note").body, "note=downloaded")
	}},
	{"upgrade", "a WebSocket takes over the connection, with the session saved first", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{pages: []page{{"/socket", true, func(s *site, w http.ResponseWriter, r *http.Request) error {
			s.put(r, "upgraded")
			conn, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return err
			}
			defer conn.Close()
			fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
			if err := rw.Flush(); err != nil {
				return nil
			}
			line, _ := rw.ReadString('\n')
			fmt.Fprint(rw, "echo "+line)
			_ = rw.Flush()
			return nil
		}}, {"/older", true, func(s *site, w http.ResponseWriter, r *http.Request) error {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				return err
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nolder")
			return conn.Close()
		}}, {"/note", false, (*site).note}}})
		b := s.browser()
		b.signIn()

		conn, err := net.Dial("tcp", s.server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		fmt.Fprintf(conn, "GET /socket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nCookie: %s=%s\r\n\r\n", b.session().Name, b.session().Value)
		in := bufio.NewReader(conn)
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "status", res.StatusCode, http.StatusSwitchingProtocols)
		fmt.Fprint(conn, "hello\n")
		line, _ := in.ReadString('\n')
		equal(t, "echo", line, "echo hello\n")
		equal(t, "saved", b.visit("/note").body, "note=upgraded")
		equal(t, "http.Hijacker", b.visit("/older").body, "older")

		a := s.browser().do(http.MethodGet, "/socket", "Connection", "Upgrade", "Upgrade", "websocket", "Sec-Fetch-Mode", "websocket")
		refused(t, "anonymous", a, http.StatusUnauthorized, "not_signed_in")
	}},
	{"early hints", "after an informational answer the session is still saved before the real one", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{pages: []page{{"/hints", false, func(s *site, w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Link", "</style.css>; rel=preload")
			raw := w // frameworks take any status for the final one, so a hint goes to the writer below theirs
			for u, ok := raw.(interface{ Unwrap() http.ResponseWriter }); ok; u, ok = raw.(interface{ Unwrap() http.ResponseWriter }) {
				raw = u.Unwrap()
			}
			raw.WriteHeader(http.StatusEarlyHints)
			s.put(r, "after the hint")
			_, err := io.WriteString(w, "body")
			return err
		}}, {"/note", false, (*site).note}}})
		b := s.browser()
		var hints atomic.Int64
		ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
			hints.Add(1)
			return nil
		}})
		r, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/hints", nil)
		res, err := b.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		equal(t, "status", res.StatusCode, http.StatusOK)
		equal(t, "hints", hints.Load(), 1)
		equal(t, "cookies", len(res.Cookies()), 1)
		equal(t, "saved", b.visit("/note").body, "note=after the hint")
	}},
	{"after the first byte", "a change after the first byte is saved if the browser has its cookie already", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{pages: []page{{"/late", false, func(s *site, w http.ResponseWriter, r *http.Request) error {
			_, err := io.WriteString(w, "body")
			s.put(r, "late")
			return err
		}}, {"/note", false, (*site).note}}})
		b := s.browser()
		b.signIn()
		a := b.visit("/late")
		equal(t, "body", a.body, "body")
		equal(t, "cookies", len(a.cookies), 0)
		equal(t, "saved", b.visit("/note").body, "note=late")
		equal(t, "an anonymous visitor's cookies", len(s.browser().visit("/late").cookies), 0)
	}},
	{"abort", "a panic with http.ErrAbortHandler cuts the connection and nothing else", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{pages: []page{{"/abort", false, func(s *site, w http.ResponseWriter, r *http.Request) error {
			s.put(r, "aborted")
			panic(http.ErrAbortHandler)
		}}, {"/note", false, (*site).note}}})
		b := s.browser()
		b.signIn()
		if a, err := b.try(http.MethodGet, "/abort"); err == nil {
			t.Errorf("an answer arrived: %d %q", a.status, a.body)
		}
		equal(t, "user", b.user(), alice)
		equal(t, "saved", b.visit("/note").body, "note=aborted")
	}},
	{"panic", "a recovery outside the middleware answers with the session saved and its cookie set", func(t *testing.T, adapter Adapter) {
		recovery := func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() {
					if recover() != nil {
						w.WriteHeader(http.StatusInternalServerError)
					}
				}()
				next.ServeHTTP(w, r)
			})
		}
		s := start(t, adapter, setup{around: recovery, pages: []page{{"/panic", false, func(s *site, w http.ResponseWriter, r *http.Request) error {
			s.put(r, "panicked")
			panic("a mistake")
		}}, {"/note", false, (*site).note}}})
		b := s.browser()
		a := b.visit("/panic")
		equal(t, "status", a.status, http.StatusInternalServerError)
		equal(t, "cookies", len(a.cookies), 1)
		equal(t, "saved", b.visit("/note").body, "note=panicked")
	}},
}
