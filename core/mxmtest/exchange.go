package mxmtest

import (
	"net/http"
	"strconv"
	"time"
)

// Exchange is one request and its answer, as a [Fault] sees and changes them. Use
// it only while the fault runs, and in one goroutine.
type Exchange struct {
	Request  Request  // as it arrived
	Response Response // empty before Commit or Answer

	s        *Server
	handle   func(*Server, *Request) Response
	entry    *Request // in the books; guarded by s.mu
	answered bool
	cutAt    int // bytes of the body that are sent before the cut
	cut      bool
}

// Commit processes the request as the Server does without faults, at one
// instant: it issues and kills tokens, and spends codes and refresh tokens. It
// sets Response. It does nothing if the request has been processed or answered.
// If a fault does not call it, the Server does when the fault returns.
func (x *Exchange) Commit() {
	if x.answered {
		return
	}
	x.answered = true
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	x.entry.Outcome = OK
	x.Response = x.handle(x.s, x.entry)
	x.entry.Status = x.Response.Status
	x.Request = *x.entry
}

// Answer replaces the answer. Without an earlier Commit, the Server never
// processes the request.
func (x *Exchange) Answer(status int, contentType string, body []byte) {
	x.answered = true
	x.Response = Response{status, http.Header{"Content-Type": {contentType}}, body}
}

// Sleep holds the request back for d, even after the client has gone. The
// Server's Close ends the wait and cuts the connection.
func (x *Exchange) Sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	wait(x, t.C)
}

// Wait holds the request back, as Sleep does, until the channel is ready or closed.
func (x *Exchange) Wait(until <-chan struct{}) { wait(x, until) }

func wait[T any](x *Exchange, until <-chan T) {
	select {
	case <-until:
	case <-x.s.done:
		x.Cut()
	}
}

// Cut closes the connection at once, with nothing sent. It does not return.
func (x *Exchange) Cut() { panic(http.ErrAbortHandler) }

// CutAt makes the answer end after n bytes of its body. Its Content-Length still
// promises the whole body; the connection is closed early.
func (x *Exchange) CutAt(n int) { x.cut, x.cutAt = true, n }

func (x *Exchange) send(w http.ResponseWriter) {
	x.s.mu.Lock()
	skew, noDate := x.s.settings.DateSkew, x.s.settings.NoDate
	x.s.mu.Unlock()
	h, body := w.Header(), x.Response.Body
	for name, values := range x.Response.Header {
		h[name] = values
	}
	h.Set("Date", time.Now().Add(skew).UTC().Format(http.TimeFormat))
	if noDate {
		h["Date"] = nil // net/http's way to send none
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if x.cut {
		body = body[:min(x.cutAt, len(body))]
	}
	w.WriteHeader(x.Response.Status)
	_, _ = w.Write(body)
	if x.cut {
		_ = http.NewResponseController(w).Flush()
		x.Cut()
	}
}
