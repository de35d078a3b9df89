package core_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/stretchr/testify/require"
)

func TestDiscover(t *testing.T) {
	srv := mxmtest.NewServer()
	defer srv.Close()
	srv.Configure(func(s *mxmtest.Settings) { s.Issuer = true; s.Revocation = true })
	endpoint, err := core.Discover(t.Context(), srv.URL, nil)
	require.NoError(t, err)
	require.Equal(t, core.Endpoint{
		Issuer: srv.URL, AuthURL: srv.URL + "/oauth/authorize", TokenURL: srv.URL + "/oauth/token",
		RevocationURL: srv.URL + "/oauth/revoke", IssRequired: true,
	}, endpoint)

	cfg := srv.Config("http://localhost:8080")
	cfg.Endpoint = endpoint
	_, err = core.New(cfg)
	require.NoError(t, err)
}

// An https issuer that names plain http, even on this machine, is not believed.
func TestDiscoverKeepsToHTTPS(t *testing.T) {
	for _, field := range []string{"authorization_endpoint", "token_endpoint", "revocation_endpoint"} {
		var srv *httptest.Server
		srv = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"issuer":"`+srv.URL+`","`+field+`":"http://127.0.0.1:8080/x"}`)
		}))
		_, err := core.Discover(t.Context(), srv.URL, srv.Client())
		srv.Close()
		require.ErrorContains(t, err, field)
	}
}

func TestDiscoverFallsBackToOpenID(t *testing.T) {
	srv := mxmtest.NewServer()
	defer srv.Close()
	srv.Fail(mxmtest.Discovery, mxmtest.Status(http.StatusNotFound, "", 0))
	endpoint, err := core.Discover(t.Context(), srv.URL, nil)
	require.NoError(t, err)
	require.Equal(t, srv.URL, endpoint.Issuer)
	require.Len(t, srv.Requests(), 2)
}

func TestDiscoverRefuses(t *testing.T) {
	for name, answer := range map[string]func(base string) (status int, body string){
		"another issuer":   func(string) (int, string) { return 200, `{"issuer":"https://evil.example"}` },
		"a slash too many": func(base string) (int, string) { return 200, `{"issuer":"` + base + `/"}` },
		"plain http": func(base string) (int, string) {
			return 200, `{"issuer":"` + base + `","token_endpoint":"http://x.example/t"}`
		},
		"not JSON":           func(string) (int, string) { return 200, `<html>` },
		"too long":           func(base string) (int, string) { return 200, `{"issuer":"` + base + `"}` + strings.Repeat(" ", 65<<10) },
		"redirected":         func(base string) (int, string) { return 302, "" },
		"an error":           func(string) (int, string) { return 500, "" },
		"a relative address": func(base string) (int, string) { return 200, `{"issuer":"` + base + `","authorization_endpoint":"/a"}` },
	} {
		t.Run(name, func(t *testing.T) {
			var srv *httptest.Server
			srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				status, body := answer(srv.URL)
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(status)
				io.WriteString(w, body)
			}))
			defer srv.Close()
			_, err := core.Discover(t.Context(), srv.URL, nil)
			require.ErrorContains(t, err, "musixmatch: discover")
		})
	}
	for _, base := range []string{"", "connect.example", "http://connect.example", "https://u@connect.example", "https://connect.example?x=y"} {
		_, err := core.Discover(t.Context(), base, nil)
		require.Error(t, err, base)
	}
}
