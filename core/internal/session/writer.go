package session

import (
	"bufio"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
)

// Wrap puts a session into the context of each request, unless one is there
// already, and saves it before the first byte of the answer.
func (m *Manager) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m.From(r.Context()) != nil {
			next.ServeHTTP(w, r)
			return
		}
		s, r := m.Load(r)
		w, sw := s.newWriter(w, r)
		defer sw.finish() // also in a panic: a recovery further out answers then
		next.ServeHTTP(w, r)
	})
}

// writer saves the session before the first byte passes.
type writer struct {
	http.ResponseWriter
	request *http.Request
	session *Session
	before  http.Header // what outer handlers had set
	began   bool
	failed  bool
	hijacks bool // the connection can be taken over
}

// hijackable is a writer over one whose connection can be taken over. Others
// must not claim that: WebSocket libraries answer 101 to the claim alone.
type hijackable struct{ writer }

// newWriter returns what the handler gets, and the writer in it.
func (s *Session) newWriter(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *writer) {
	s.writer.writer = writer{ResponseWriter: w, request: r, session: s, hijacks: hijacks(w)}
	sw := &s.writer.writer
	if h := w.Header(); len(h) > 0 {
		sw.before = h.Clone()
	}
	if sw.hijacks {
		return &s.writer, sw
	}
	return sw, sw
}

// hijacks reports whether the innermost writer is an http.Hijacker. Those around
// it, such as Gin's, claim it whatever is beneath.
func hijacks(w http.ResponseWriter) bool {
	for {
		outer, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		w = outer.Unwrap()
	}
	_, ok := w.(http.Hijacker)
	return ok
}

var errNotSaved = errors.New("musixmatch: the session could not be saved, so the answer is not sent")

// begin returns errNotSaved if the handler's answer must not be sent.
func (w *writer) begin() error {
	if !w.began {
		w.began = true
		if err := w.session.Save(w.ResponseWriter); err != nil {
			w.failed = true
			w.refuse(err)
		}
	}
	if w.failed {
		return errNotSaved
	}
	return nil
}

// refuse answers instead of the handler and drops the headers that it has set.
func (w *writer) refuse(cause error) {
	h := w.Header()
	clear(h)
	maps.Copy(h, w.before)
	o := &w.session.manager.opts
	o.Logger.ErrorContext(w.request.Context(), "musixmatch session not saved", "error", cause.Error())
	o.Refuse(w.ResponseWriter, w.request, cause)
}

func (w *writer) finish() {
	if !w.began {
		_ = w.begin()
	} else if !w.failed {
		w.session.saveLate()
	}
}

func (w *writer) WriteHeader(status int) {
	if status == http.StatusSwitchingProtocols && !w.hijacks {
		status = http.StatusNotImplemented // a framework's writer claimed that it could
	}
	informational := status >= 100 && status < 200 && status != http.StatusSwitchingProtocols
	if !informational && w.begin() != nil {
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(b []byte) (int, error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(b)
}

func (w *writer) WriteString(s string) (int, error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	return io.WriteString(w.ResponseWriter, s)
}

func (w *writer) ReadFrom(src io.Reader) (int64, error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	return io.Copy(w.ResponseWriter, src)
}

func (w *writer) FlushError() error {
	if err := w.begin(); err != nil {
		return err
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *writer) Flush() { _ = w.FlushError() }

func (w *hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if err := w.begin(); err != nil {
		return nil, nil, err
	}
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// Unwrap serves http.ResponseController for what does not send a byte.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
