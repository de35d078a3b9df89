package core

import (
	"bufio"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
)

// Wrap loads the session into the request's context, where [UserID] finds it,
// and saves it before the first byte of the answer, whatever writes that:
// Write, WriteHeader, Flush, Hijack or ReadFrom. If it cannot be saved, the
// answer is an error and nothing that next writes is sent. While the session
// store cannot be read, requests are anonymous and [Auth.Challenge] answers 503.
// Where the application's own scs LoadAndSave is around it, that one saves.
// After Hijack the session is saved, but nobody sends its cookie: a handler that
// has changed the session copies Set-Cookie into what it writes itself.
func (a *Auth) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.sessionOf(r.Context()) != nil {
			next.ServeHTTP(w, r)
			return
		}
		s, r := a.load(r)
		sw := newSessionWriter(w, r, s)
		defer sw.finish() // also in a panic: a recovery further out answers then
		next.ServeHTTP(sw, r)
	})
}

// sessionWriter saves the session before the first byte passes.
type sessionWriter struct {
	http.ResponseWriter
	request *http.Request
	session *session
	before  http.Header // what outer handlers had set
	began   bool
	failed  bool
}

func newSessionWriter(w http.ResponseWriter, r *http.Request, s *session) *sessionWriter {
	s.writer = sessionWriter{ResponseWriter: w, request: r, session: s}
	if h := w.Header(); len(h) > 0 {
		s.writer.before = h.Clone()
	}
	return &s.writer
}

var errNotSaved = errors.New("musixmatch: the session could not be saved, so the answer is not sent")

// begin returns errNotSaved if the handler's answer must not be sent.
func (w *sessionWriter) begin() error {
	if !w.began {
		w.began = true
		if err := w.session.save(w.ResponseWriter); err != nil {
			w.failed = true
			w.refuse(err)
		}
	}
	if w.failed {
		return errNotSaved
	}
	return nil
}

// refuse answers instead of the handler, with nothing of what it had set.
func (w *sessionWriter) refuse(cause error) {
	h := w.Header()
	clear(h)
	maps.Copy(h, w.before)
	a := w.session.auth
	a.log.ErrorContext(w.request.Context(), "musixmatch session not saved", "error", cause.Error())
	err := a.refusal(w.ResponseWriter, "session", ErrUnavailable, cause)
	if !a.HandleError(w.ResponseWriter, w.request, err) {
		WriteError(w.ResponseWriter, w.request, err)
	}
}

func (w *sessionWriter) finish() {
	if !w.began {
		_ = w.begin()
	} else if !w.failed {
		w.session.saveLate()
	}
}

func (w *sessionWriter) WriteHeader(status int) {
	informational := status >= 100 && status < 200 && status != http.StatusSwitchingProtocols
	if !informational && w.begin() != nil {
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *sessionWriter) Write(b []byte) (int, error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(b)
}

func (w *sessionWriter) WriteString(s string) (int, error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	return io.WriteString(w.ResponseWriter, s)
}

func (w *sessionWriter) ReadFrom(src io.Reader) (int64, error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	return io.Copy(w.ResponseWriter, src)
}

func (w *sessionWriter) FlushError() error {
	if err := w.begin(); err != nil {
		return err
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *sessionWriter) Flush() { _ = w.FlushError() }

func (w *sessionWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if err := w.begin(); err != nil {
		return nil, nil, err
	}
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// Unwrap serves http.ResponseController for what does not send a byte.
func (w *sessionWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
