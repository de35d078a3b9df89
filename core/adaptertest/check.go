package adaptertest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// eventually waits until what is counted has come to want.
func eventually(t *testing.T, what string, count func() int, want int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); count() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: still %d, not %d", what, count(), want)
		}
	}
}

func contains(t *testing.T, what, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("%s: %q is not in %q", what, part, text)
	}
}

func lacks(t *testing.T, what, text, part string) {
	t.Helper()
	if strings.Contains(text, part) {
		t.Errorf("%s: %q is in %q", what, part, text)
	}
}

// private checks that no cache keeps an answer of the routes.
func private(t *testing.T, what string, a *answer) {
	t.Helper()
	equal(t, what+": Cache-Control", strings.Join(a.header["Cache-Control"], ";"), "no-store")
	equal(t, what+": Referrer-Policy", a.header.Get("Referrer-Policy"), "no-referrer")
	contains(t, what+": Content-Security-Policy", a.header.Get("Content-Security-Policy"), "default-src 'none'")
	contains(t, what+": Content-Security-Policy", a.header.Get("Content-Security-Policy"), "frame-ancestors 'none'")
}

// refused checks that an answer is the error code, redirects nowhere and changes
// no session. Frameworks differ in their error bodies, but all name the code.
func refused(t *testing.T, what string, a *answer, status int, code string) {
	t.Helper()
	equal(t, what+": status", a.status, status)
	contains(t, what+": body", a.body, code)
	equal(t, what+": Location", a.location(), "")
	private(t, what, a)
}

// redirected checks that an answer redirects to target, by a GET.
func redirected(t *testing.T, what string, a *answer, target string) {
	t.Helper()
	equal(t, what+": status", a.status, http.StatusSeeOther)
	equal(t, what+": Location", a.location(), target)
}

// changed returns raw with one query parameter replaced.
func changed(raw, name string, values ...string) string {
	u, _ := url.Parse(raw)
	q := u.Query()
	q[name] = values
	u.RawQuery = q.Encode()
	return u.String()
}

func query(raw, name string) string {
	u, _ := url.Parse(raw)
	return u.Query().Get(name)
}
