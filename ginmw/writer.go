package ginmw

import (
	"bufio"
	"io"
	"net"
	"net/http"

	"github.com/gin-gonic/gin"
)

// writer is Gin's writer, but every call that sends bytes goes through core's
// writer, which saves the session first. Status, Size and Written are Gin's own.
type writer struct {
	gin.ResponseWriter
	saving http.ResponseWriter // core's, around the embedded one
}

// WriteHeaderNow sends the status that Gin's WriteHeader has only recorded.
func (w *writer) WriteHeaderNow() {
	if !w.Written() {
		w.saving.WriteHeader(w.Status())
		w.ResponseWriter.WriteHeaderNow()
	}
}

func (w *writer) Write(b []byte) (int, error) { return w.saving.Write(b) }

func (w *writer) WriteString(s string) (int, error) { return io.WriteString(w.saving, s) }

func (w *writer) Flush() { w.saving.(http.Flusher).Flush() }

func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if saving, ok := w.saving.(http.Hijacker); ok {
		return saving.Hijack()
	}
	return nil, nil, http.ErrNotSupported // Gin's own would panic
}

func (w *writer) Unwrap() http.ResponseWriter { return w.saving }
