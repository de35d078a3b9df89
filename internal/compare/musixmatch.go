package main

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/nethttpmw"
)

const (
	origin       = "https://app.example"
	callbackPath = "/auth/musixmatch/callback"
	authURL      = "https://connect.musixmatch.com/oauth/authorize"
	tokenURL     = "https://connect.musixmatch.com/oauth/token"
	metadataURL  = "https://connect.musixmatch.com/oauth/token-metadata"
)

// canned is a Musixmatch without a network, for everybody the same.
type canned struct{}

// SendsOnce says what core wants to know of a transport.
func (canned) SendsOnce() bool { return true }

// RoundTrip implements http.RoundTripper.
func (canned) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		r.Body.Close()
	}
	body := `{"active":true,"sub":"` + user + `","id":1}`
	if strings.HasSuffix(r.URL.Path, "/token") {
		body = `{"access_token":"` + strings.Repeat("a", 40) + `","token_type":"Bearer","expires_in":3600,"refresh_token":"` + strings.Repeat("r", 40) + `","scope":"profile email"}`
	}
	return &http.Response{
		StatusCode: http.StatusOK, Request: r, Body: io.NopCloser(strings.NewReader(body)),
		Header: http.Header{"Content-Type": {"application/json"}},
	}, nil
}

// newAuth is mxmconnect in front of it.
func newAuth(change func(*core.Config)) *core.Auth {
	memory := core.NewMemory()
	cfg := core.Config{
		ClientID: "client", ClientSecret: "secret", RedirectURL: origin + callbackPath,
		Sessions: core.NewSessions(memory), Grants: memory, Keys: [][]byte{cookieKey},
		HTTPClient: &http.Client{Transport: canned{}},
		Logger:     slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	return must(core.New(cfg))
}

func routesOf(auth *core.Auth) http.Handler {
	mux := http.NewServeMux()
	nethttpmw.Mount(mux, auth)
	return mux
}

// attempt is a login that has been started: the callback that ends it.
func attempt(login http.Handler, loginPath, callbackPath string) *http.Request {
	w := httptest.NewRecorder()
	login.ServeHTTP(w, httptest.NewRequest(http.MethodGet, origin+loginPath, nil))
	location := must(url.Parse(w.Header().Get("Location")))
	state := location.Query().Get("state")
	check(state != "", "no login: %d %s", w.Code, w.Body)
	r := httptest.NewRequest(http.MethodGet, origin+callbackPath+"?"+url.Values{"code": {"code"}, "state": {state}}.Encode(), nil)
	for _, c := range w.Result().Cookies() {
		r.AddCookie(c)
	}
	return r
}

// signIn returns the cookies of a browser that has signed in.
func signIn(auth *core.Auth) (cookies []*http.Cookie) {
	h := routesOf(auth)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, attempt(h, "/auth/musixmatch/login", callbackPath))
	check(w.Code == http.StatusSeeOther, "no sign-in: %d %s", w.Code, w.Body)
	for _, c := range w.Result().Cookies() {
		if c.MaxAge >= 0 {
			cookies = append(cookies, c)
		}
	}
	return cookies
}
