package ginmw

import (
	"bufio"
	"io"
	"net"
	"net/http"

	"github.com/gin-gonic/gin"
)

// writer is Gin's writer with all that sends bytes going through core's, which
// saves the session first. Status, Size and Written stay Gin's own.
type writer struct {
	gin.ResponseWriter
	saving http.ResponseWriter // core's, around the embedded one
}

// WriteHeaderNow sends what WriteHeader, which stays Gin's, has only noted.
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
	return w.saving.(http.Hijacker).Hijack()
}

func (w *writer) Unwrap() http.ResponseWriter { return w.saving }
