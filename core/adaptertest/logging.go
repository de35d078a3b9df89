package adaptertest

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// RunLogging tests that a framework's own logger and recovery, set up as the
// adapter's documentation says, write no code, state or cookie. The application
// writes its access log, its panics and its errors to log, and answers a panic
// with status 500.
func RunLogging(t *testing.T, adapter func(app App, log io.Writer) http.Handler) {
	t.Helper()
	var log transcript
	s := start(t, func(app App) http.Handler { return adapter(app, &log) }, setup{pages: []page{
		{"/panic", true, func(*site, http.ResponseWriter, *http.Request) error { panic("a mistake") }},
		{"/abort", true, func(*site, http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) }},
		{"/broken", true, func(*site, http.ResponseWriter, *http.Request) error { return errors.New("a failure") }},
	}})
	b := s.browser()
	callback := b.begin("/x")
	stolen := s.browser()
	stolen.visit(callback) // refused
	b.visit(callback)
	b.visit(callback) // repeated
	s.mxm.Fail(mxmtest.Token, mxmtest.DropResponse)
	b.visit(b.begin("")) // fails
	equal(t, "panic: status", b.visit("/panic").status, http.StatusInternalServerError)
	equal(t, "user", b.user(), alice)
	_, _ = b.try(http.MethodGet, "/abort") // recoveries disagree whether it is passed on
	b.visit("/broken")
	b.submit(logoutPath)

	text := log.String()
	for _, needed := range []string{mxmtest.CallbackPath, logoutPath, "/panic", "a mistake"} {
		if !strings.Contains(text, needed) {
			t.Errorf("%q is not in the log, so it proves nothing: %s", needed, text)
		}
	}
	_, _ = io.WriteString(&s.log, text)
	if testing.Verbose() {
		t.Log(text)
	}
}
