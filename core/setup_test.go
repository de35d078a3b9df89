package core_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/nethttpmw"
)

// logged returns an Auth and the lines that it logs at WARN and above.
func logged(t *testing.T, change func(*core.Config, *mxmtest.Server)) (*core.Auth, *mxmtest.Server, func() []string) {
	t.Helper()
	srv := mxmtest.NewServer()
	t.Cleanup(srv.Close)
	srv.SignInAs(alice)
	var log lines
	c := srv.Config("http://localhost")
	c.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if change != nil {
		change(&c, srv)
	}
	auth, err := core.New(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, auth.Close(context.Background())) })
	return auth, srv, func() []string { return strings.Split(strings.TrimSpace(log.text()), "\n") }
}

// get asks handler for a page at localhost, as a browser does.
func get(handler http.Handler, target string, cookies ...*http.Cookie) *http.Response {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Host = "localhost"
	r.Header.Set("Accept", "text/html")
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	return w.Result()
}

// signIn completes a sign-in, and returns the answer of the callback.
func signIn(t *testing.T, handler http.Handler) *http.Response {
	t.Helper()
	begun := get(handler, "/auth/musixmatch/login")
	browser := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	at, err := browser.Get(begun.Header.Get("Location"))
	require.NoError(t, err)
	at.Body.Close()
	back, err := at.Location()
	require.NoError(t, err)
	return get(handler, back.RequestURI(), begun.Cookies()...)
}

func TestWorkerNeedsNoRedirectURL(t *testing.T) {
	auth, srv, _ := logged(t, func(c *core.Config, _ *mxmtest.Server) { c.RedirectURL = "" })
	user, err := auth.Import(t.Context(), srv.Issue(alice).RefreshToken)
	require.NoError(t, err)
	for _, client := range []*http.Client{auth.Client(t.Context(), user), auth.AppClient(t.Context())} {
		resp, err := client.Get(srv.APIURL() + "/whoami")
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, http.StatusOK, resp.StatusCode)
	}
	require.PanicsWithValue(t, "musixmatch: RedirectURL is required to sign people in", func() { nethttpmw.Mount(http.NewServeMux(), auth) })
}

// Without a RedirectURL nobody can say that the application is on http.
func TestWorkerLeavesTheCookieSecure(t *testing.T) {
	sessions := core.NewSessions(core.NewMemory())
	_, err := core.New(core.Config{ClientID: "id", ClientSecret: "secret", Sessions: sessions, Keys: testKeys})
	require.NoError(t, err)
	require.True(t, sessions.Cookie.Secure)
}

// WriteError shows people no cause, so the log has it.
func TestRefusedOriginNamesTheSetting(t *testing.T) {
	auth, srv, log := logged(t, nil)
	_, err := auth.Import(t.Context(), srv.Issue(alice).RefreshToken)
	require.NoError(t, err)
	_, err = auth.Client(t.Context(), alice).Get("https://api.example/x?apikey=canary")
	require.EqualError(t, errors.Unwrap(err), "musixmatch: api call: the configuration does not allow it: tokens are not sent to https://api.example; if they should be, add it to APIOrigins")
	_, err = auth.AppClient(t.Context()).Get("https://api.example/y?apikey=canary")
	require.Error(t, err)
	said := strings.Join(log(), "\n")
	require.Equal(t, 1, strings.Count(said, "add it to APIOrigins"), said)
	require.NotContains(t, said, "canary")
}

func TestWrongSecretIsAnError(t *testing.T) {
	auth, srv, log := logged(t, func(c *core.Config, _ *mxmtest.Server) { c.ClientSecret = "wrong" })
	mux := http.NewServeMux()
	nethttpmw.Mount(mux, auth)
	site := nethttpmw.Middleware(auth)(mux)
	for what, do := range map[string]func(){
		"login":   func() { require.Equal(t, http.StatusBadGateway, signIn(t, site).StatusCode) },
		"app":     func() { _, err := auth.AppTokenSource(t.Context()).Token(); require.Error(t, err) },
		"refresh": func() { _, err := auth.Import(t.Context(), srv.Issue(alice).RefreshToken); require.Error(t, err) },
	} {
		before := len(log())
		do()
		said := strings.Join(log()[before-1:], "\n")
		require.Contains(t, said, "level=ERROR", what)
		require.Contains(t, said, "check ClientID and ClientSecret", what)
	}
}

func TestRoutesWithoutMiddleware(t *testing.T) {
	const problem = "Middleware has not run"
	auth, _, log := logged(t, nil)
	mux := http.NewServeMux()
	nethttpmw.Mount(mux, auth)
	for range 2 {
		require.Equal(t, http.StatusSeeOther, get(mux, "/auth/musixmatch/login").StatusCode)
	}
	require.Len(t, log(), 1)
	require.Contains(t, log()[0], problem)

	auth, _, log = logged(t, nil)
	mux = http.NewServeMux()
	nethttpmw.Mount(mux, auth)
	get(nethttpmw.Middleware(auth)(mux), "/")
	get(mux, "/auth/musixmatch/login") // a router may keep the routes outside
	require.Equal(t, []string{""}, log())
}

func TestPrefixThatNobodyStrips(t *testing.T) {
	prefixed := func(c *core.Config, srv *mxmtest.Server) {
		c.PathPrefix, c.RedirectURL = "/shop", "http://localhost/shop/callback"
	}
	page := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	auth, _, log := logged(t, prefixed)
	for range 2 {
		get(nethttpmw.Middleware(auth)(page), "/shop/login?code=canary")
	}
	require.Len(t, log(), 1)
	require.Contains(t, log()[0], "PathPrefix")
	require.NotContains(t, log()[0], "canary")

	auth, _, log = logged(t, prefixed)
	get(http.StripPrefix("/shop", nethttpmw.Middleware(auth)(page)), "/shop/login")
	get(nethttpmw.Middleware(auth)(page), "/shops")
	require.Equal(t, []string{""}, log())
}

func TestPanicOfOnLogin(t *testing.T) {
	auth, srv, log := logged(t, func(c *core.Config, _ *mxmtest.Server) {
		c.OnLogin = func(context.Context, *core.Login) error { panic("canary of a bug") }
		c.Endpoint.RevocationURL = c.BaseURL + "/oauth/revoke"
	})
	srv.Configure(func(s *mxmtest.Settings) { s.Revocation = true })
	mux := http.NewServeMux()
	nethttpmw.Mount(mux, auth)
	res := signIn(t, nethttpmw.Middleware(auth)(mux))
	require.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
	require.NotEmpty(t, res.Header.Get("Retry-After"))
	require.Empty(t, srv.Live(alice), "the tokens are revoked")
	require.Contains(t, log()[0], "setup_test.go", "the log says where")
	require.NotContains(t, log()[0], "canary")
}

func TestKeyThatIsText(t *testing.T) {
	for encoding, key := range map[string]string{
		"base64": base64.StdEncoding.EncodeToString(testKeys[0]),
		"Base64": base64.RawURLEncoding.EncodeToString(testKeys[0]),
		"hex":    hex.EncodeToString(testKeys[0]),
	} {
		_, err := core.New(core.Config{ClientID: "id", ClientSecret: "secret", Keys: [][]byte{[]byte(key)}})
		require.ErrorContains(t, err, "Keys[0]: must be 32 bytes, is")
		require.ErrorContains(t, err, strings.ToLower(encoding)+" text")
		require.ErrorContains(t, err, "decode it first")
		require.NotContains(t, err.Error(), key)
	}
	_, err := core.New(core.Config{ClientID: "id", ClientSecret: "secret", Keys: [][]byte{[]byte(strings.Repeat("!", 44))}})
	require.EqualError(t, err, "musixmatch: the configuration is not usable:\nKeys[0]: must be 32 bytes, is 44")
}
