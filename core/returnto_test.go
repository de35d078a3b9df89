package core

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// browserHost is the host that a browser on https://app.example reaches by a
// Location header, by the WHATWG URL standard's rules for special schemes:
// tabs and line ends vanish, backslashes are slashes, two slashes begin a host.
func browserHost(location string) string {
	location = strings.Trim(location, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\v\f\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f ")
	location = strings.NewReplacer("\t", "", "\n", "", "\r", "", "\\", "/").Replace(location)
	lower := strings.ToLower(location)
	for _, scheme := range []string{"https:", "http:"} {
		if strings.HasPrefix(lower, scheme) {
			location = location[len(scheme):]
			if !strings.HasPrefix(location, "//") {
				location = "//" + strings.TrimLeft(location, "/")
			}
			break
		}
	}
	if !strings.HasPrefix(location, "//") {
		if i := strings.IndexAny(location, ":/?#"); i >= 0 && location[i] == ':' {
			return "another scheme"
		}
		return "app.example"
	}
	host := strings.TrimLeft(location, "/")
	if i := strings.IndexAny(host, "/?#"); i >= 0 {
		host = host[:i]
	}
	return host
}

var leavingPaths = []string{
	"//evil.example", "///evil.example", `/\evil.example`, `/\/evil.example`, `\/evil.example`, `/./\evil.example`,
	`/a/../\evil.example`, `/..//\evil.example`, "/\t/evil.example", "/\n/evil.example", "https://evil.example", "https:evil.example",
	"javascript:alert(1)", "//evil.example@app.example", "/ /evil.example", "evil.example", "", "/\x00", "/ä",
}

func TestLocalPath(t *testing.T) {
	for _, raw := range leavingPaths {
		_, ok := localPath(raw)
		require.False(t, ok, "%q", raw)
	}
	for raw, want := range map[string]string{
		"/": "/", "/me": "/me", "/me?a=b&c=//d": "/me?a=b&c=//d", "/a/": "/a/", "/a//b": "/a/b", "/a/../b": "/b",
		"/..//evil.example": "/evil.example", "/%2f%2fevil.example": "/%2f%2fevil.example", "/a%20b": "/a%20b",
	} {
		got, ok := localPath(raw)
		require.True(t, ok, "%q", raw)
		require.Equal(t, want, got)
	}
}

// Whatever is accepted stays on the origin in a browser: as it is, after any
// cleaning, and after http.Redirect.
func FuzzLocalPath(f *testing.F) {
	for _, seed := range append(leavingPaths, "/", "/me?x=1", "/a/..//b", "/%2e%2e//evil.example", "/.//evil.example") {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, ok := localPath(raw)
		if !ok {
			return
		}
		forms := []string{raw, got, path.Clean(got)}
		if unescaped, err := url.PathUnescape(path.Clean(got)); err == nil {
			forms = append(forms, path.Clean("/" + unescaped)[:1]+strings.TrimLeft(path.Clean(got), "/"))
		}
		w := httptest.NewRecorder()
		http.Redirect(w, httptest.NewRequest(http.MethodGet, "/", nil), got, http.StatusSeeOther)
		forms = append(forms, w.Header().Get("Location"))
		for _, form := range forms {
			require.Equal(t, "app.example", browserHost(form), "%q accepted as %q leaves as %q", raw, got, form)
		}
		again, ok := localPath(got)
		require.True(t, ok)
		require.Equal(t, got, again, "cleaning is done once and for all")
	})
}

func TestReturnTo(t *testing.T) {
	a := newTestAuth(t, func(c *Config) {
		c.RedirectURL = "https://app.example/app/auth/musixmatch/callback"
		c.PathPrefix = "/app"
		c.AfterLogin = "/home"
		c.TrustedOrigins = []string{"https://spa.example", "https://app.example"}
	})
	for raw, want := range map[string]string{
		"/app/me":                                       "/app/me",
		"":                                              "/app/home",
		"//evil.example":                                "/app/home",
		"/app/auth/musixmatch/logout":                   "/app/home",
		"/app/auth/musixmatch/%6cogin":                  "/app/home",
		"/app/x/../auth/musixmatch/login":               "/app/home",
		"/app/x/%2e%2e/auth/musixmatch/login":           "/app/home",
		"https://spa.example/x?y=1":                     "https://spa.example/x?y=1",
		"https://spa.example.evil.example/":             "/app/home",
		"https://spa.example@evil.example/":             "/app/home",
		`https://spa.example/\evil.example`:             "/app/home",
		"https://spa.example//evil.example":             "/app/home",
		"http://spa.example/x":                          "/app/home",
		"https://app.example/app/me?x":                  "/app/me?x",
		"https://app.example":                           "/app/home",
		"https://app.example.evil.example/":             "/app/home",
		"https://app.example//evil.example":             "/app/home",
		"https://app.examplehttps://evil.org":           "/app/home",
		"https://app.example/app/auth/musixmatch/login": "/app/home",
	} {
		require.Equal(t, want, a.returnTo(raw), "%q", raw)
	}
}

func TestReturnToAtTheRoot(t *testing.T) {
	a := newTestAuth(t, func(c *Config) { c.RedirectURL = "https://app.example/callback" })
	require.Equal(t, "/me", a.returnTo("/me"))
	require.Equal(t, "/", a.returnTo("/login"))
	require.Equal(t, "/", a.returnTo("/callback?code=x"))
}
