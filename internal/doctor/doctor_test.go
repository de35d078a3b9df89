package doctor_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/internal/doctor"
	"github.com/mxmconnect/mxmconnect/nethttpmw"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// world is a sound environment: an authorization server, an application that runs,
// an API and a store.
type world struct {
	t   *testing.T
	srv *mxmtest.Server
}

func healthy(t *testing.T) world {
	srv := mxmtest.NewServer()
	t.Cleanup(srv.Close)
	var auth *core.Auth
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mux := http.NewServeMux()
		nethttpmw.Mount(mux, auth)
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(app.Close)
	cfg := srv.Config(app.URL)
	var err error
	auth, err = core.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, auth.Close(context.Background())) })

	w := world{t, srv}
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "MXM_") && name != "MXM_TEST_ALL" || name == "ADDR" {
			t.Setenv(name, "")
		}
	}
	w.set("MXM_BASE_URL", srv.URL)
	w.set("MXM_CLIENT_ID", cfg.ClientID)
	w.set("MXM_CLIENT_SECRET", cfg.ClientSecret)
	w.set("MXM_REDIRECT_URL", cfg.RedirectURL)
	w.set("MXM_API_URL", srv.APIURL())
	w.set("MXM_STORE", "sqlite:"+filepath.Join(t.TempDir(), "store.db"))
	w.set("MXM_KEYS", base64.StdEncoding.EncodeToString(key(32)))
	return w
}

func key(n int) []byte {
	k := make([]byte, n)
	rand.Read(k)
	return k
}

func (w world) set(variable, value string) { w.t.Setenv(variable, value) }

// serve starts a broken server and makes it the authorization server.
func (w world) serve(status int, contentType, body string) {
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", contentType)
		rw.WriteHeader(status)
		io.WriteString(rw, body)
	}))
	w.t.Cleanup(s.Close)
	w.set("MXM_BASE_URL", s.URL)
}

// tls serves the authorization server with a certificate.
func (w world) tls(c *tls.Config, host string) {
	s := httptest.NewUnstartedServer(w.srv)
	s.TLS, s.Config.ErrorLog = c, log.New(io.Discard, "", 0)
	s.StartTLS()
	w.t.Cleanup(s.Close)
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	w.set("MXM_BASE_URL", "https://"+net.JoinHostPort(host, port))
}

func expired(t *testing.T) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(-time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	require.NoError(t, err)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func closedPort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// Each mistake is named in one line, and nothing else is called wrong.
func TestMisconfigurations(t *testing.T) {
	for _, c := range []struct {
		mistake   string
		make      func(world)
		check     string
		says, doo string
	}{
		{"no client ID", func(w world) { w.set("MXM_CLIENT_ID", "") }, "configuration", "MXM_CLIENT_ID: is required", "Set MXM_CLIENT_ID"},
		{"no secret", func(w world) { w.set("MXM_CLIENT_SECRET", "") }, "configuration", "MXM_CLIENT_SECRET: is required", "Set MXM_CLIENT_SECRET"},
		{"a secret with a line break", func(w world) { w.set("MXM_CLIENT_SECRET", "s\n") }, "configuration", "outside printable ASCII", "MXM_CLIENT_SECRET"},
		{"a wrong secret", func(w world) { w.set("MXM_CLIENT_SECRET", "guess") }, "secret", "401 invalid_client", "MXM_CLIENT_SECRET"},
		{"another server's client", func(w world) { w.set("MXM_CLIENT_ID", "somebody") }, "secret", "401 invalid_client", "MXM_CLIENT_ID"},
		{"a redirect URL that is not registered", func(w world) { w.set("MXM_REDIRECT_URL", "http://127.0.0.1:1/other") }, "redirect URL", "400", "Register exactly this URL"},
		{"a public redirect URL on http", func(w world) { w.set("MXM_REDIRECT_URL", "http://app.example/cb") }, "configuration", "must be https", "MXM_REDIRECT_URL"},
		{"a base URL with a path", func(w world) { w.set("MXM_BASE_URL", w.srv.URL+"/oauth") }, "secret", "404", "without a path"},
		{"a public base URL on http", func(w world) { w.set("MXM_BASE_URL", "http://connect.musixmatch.com") }, "configuration", "must be https", "MXM_BASE_URL"},
		{"a host that does not exist", func(w world) { w.set("MXM_BASE_URL", "https://connect.musixmatch.invalid") }, "server", "", "DNS"},
		{"a port where nobody listens", func(w world) { w.set("MXM_BASE_URL", "http://"+closedPort(w.t)) }, "server", "nothing listens", "port"},
		{"http at https", func(w world) { w.set("MXM_BASE_URL", strings.Replace(w.srv.URL, "http:", "https:", 1)) }, "server", "does not speak TLS", "scheme"},
		{"an expired certificate", func(w world) { w.tls(expired(w.t), "127.0.0.1") }, "server", "expired", "clock"},
		{"an unknown authority", func(w world) { w.tls(nil, "127.0.0.1") }, "server", "authority that this machine does not know", "SSL_CERT_FILE"},
		{"another host's certificate", func(w world) { w.tls(nil, "localhost") }, "server", "another host", "host in the URL"},
		{"a server that is down", func(w world) { w.serve(503, "text/html", "<h1>Maintenance</h1>") }, "server", "503", "later"},
		{"a web site", func(w world) { w.serve(200, "text/html", "<h1>Welcome</h1>") }, "secret", "not with JSON", "no token endpoint"},
		{"a clock that is slow", func(w world) { w.srv.Configure(func(s *mxmtest.Settings) { s.DateSkew = time.Hour }) }, "clock", "behind it", "NTP"},
		{"a clock that is fast", func(w world) { w.srv.Configure(func(s *mxmtest.Settings) { s.DateSkew = -time.Hour }) }, "clock", "ahead of it", "NTP"},
		{"another issuer", func(w world) { w.srv.Fail(mxmtest.Discovery, mxmtest.SetField("issuer", `"https://other.example"`)) }, "discovery", "issuer https://other.example", "MXM_BASE_URL"},
		{"another token endpoint", func(w world) {
			w.srv.Fail(mxmtest.Discovery, mxmtest.SetField("token_endpoint", `"https://other.example/token"`))
		}, "discovery", "https://other.example/token", "core.Discover"},
		{"another authorization endpoint", func(w world) {
			w.srv.Fail(mxmtest.Discovery, mxmtest.SetField("authorization_endpoint", `"https://other.example/auth"`))
		}, "discovery", "https://other.example/auth", "core.Discover"},
		{"a client for the header", func(w world) {
			w.srv.Fail(mxmtest.Discovery, mxmtest.SetField("token_endpoint_auth_methods_supported", `["client_secret_basic"]`))
		}, "discovery", "no client_secret in the body", "client_secret_post"},
		{"token-metadata that wants a secret", func(w world) { w.srv.Configure(func(s *mxmtest.Settings) { s.MetadataAuth = true }) }, "token-metadata", "wants client authentication", "sends none"},
		{"no token-metadata", func(w world) { w.srv.Fail(mxmtest.Metadata, mxmtest.Status(404, "", 0)) }, "token-metadata", "404", "MetadataURL"},
		{"a scope that the client may not ask for", func(w world) {
			w.srv.Fail(mxmtest.Authorize, mxmtest.Redirect(302, os.Getenv("MXM_REDIRECT_URL")+"?error=invalid_scope"))
		}, "redirect URL", "invalid_scope", "profile email"},
		{"a client for machines only", func(w world) {
			w.srv.Fail(mxmtest.Authorize, mxmtest.Redirect(302, os.Getenv("MXM_REDIRECT_URL")+"?error=unauthorized_client"))
		}, "redirect URL", "unauthorized_client", "may not sign users in"},
		{"an application without the route", func(w world) {
			app := httptest.NewServer(http.NotFoundHandler())
			w.t.Cleanup(app.Close)
			w.redirect(app.URL + "/prefix/callback")
		}, "callback", "404", "PathPrefix"},
		{"a proxy without an application", func(w world) {
			app := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(502) }))
			w.t.Cleanup(app.Close)
			w.redirect(app.URL + "/callback")
		}, "callback", "502", "proxy"},
		{"an API that is not there", func(w world) { w.set("MXM_API_URL", "http://"+closedPort(w.t)) }, "API", "nothing listens", "port"},
		{"an API URL without a scheme", func(w world) { w.set("MXM_API_URL", "api.example") }, "configuration", "must be a URL such as", "MXM_API_URL"},
		{"a public API on http", func(w world) { w.set("MXM_API_URL", "http://api.example") }, "configuration", "must be https", "MXM_API_URL"},
		{"no keys", func(w world) { w.set("MXM_KEYS", "") }, "configuration", "MXM_KEYS: is required", "MXM_KEYS"},
		{"a key of one byte", func(w world) { w.set("MXM_KEYS", base64.StdEncoding.EncodeToString(make([]byte, 32))) }, "configuration", "must be random", "MXM_KEYS"},
		{"a short key", func(w world) { w.set("MXM_KEYS", base64.StdEncoding.EncodeToString(key(16))) }, "configuration", "decodes to 16 bytes", "MXM_KEYS"},
		{"a key in hex", func(w world) { w.set("MXM_KEYS", hex.EncodeToString(key(32))) }, "configuration", "hexadecimal", "MXM_KEYS"},
		{"a key encoded twice", func(w world) {
			w.set("MXM_KEYS", base64.StdEncoding.EncodeToString([]byte(os.Getenv("MXM_KEYS"))))
		}, "configuration", "encoded twice", "MXM_KEYS"},
		{"a pass phrase as the key", func(w world) { w.set("MXM_KEYS", "correct horse battery staple") }, "configuration", "not base64", "MXM_KEYS"},
		{"a refresh timeout of a millisecond", func(w world) { w.set("MXM_REFRESH_TIMEOUT", "1ms") }, "configuration", "from 1s to 5m", "MXM_REFRESH_TIMEOUT"},
		{"a store that is down", func(w world) { w.set("MXM_STORE", "redis://:topsecret@"+closedPort(w.t)+"/0") }, "store", "refused", "MXM_STORE"},
		{"a store of an unknown kind", func(w world) { w.set("MXM_STORE", "mongodb://127.0.0.1") }, "store", "must be memory:", "MXM_STORE"},
		{"a file in no folder", func(w world) { w.set("MXM_STORE", "sqlite:"+w.t.TempDir()+"/no/such/store.db") }, "store", "cannot be opened", "MXM_STORE"},
	} {
		t.Run(c.mistake, func(t *testing.T) {
			w := healthy(t)
			c.make(w)
			findings := doctor.Examine(t.Context(), patience)
			var wrong []doctor.Finding
			for _, f := range findings {
				require.NotContains(t, fmt.Sprint(f), mxmtest.DefaultClientSecret)
				require.NotContains(t, fmt.Sprint(f), "topsecret")
				require.NotContains(t, fmt.Sprint(f), "\n")
				if f.Verdict == doctor.Wrong {
					wrong = append(wrong, f)
				}
			}
			require.Len(t, wrong, 1, "%+v", findings)
			require.Equal(t, c.check, wrong[0].Check)
			require.Contains(t, wrong[0].Tried+": "+wrong[0].Came, c.says)
			require.Contains(t, wrong[0].Do, c.doo)
		})
	}
}

// redirect registers another redirect URL.
func (w world) redirect(to string) {
	w.srv.AddClient(mxmtest.DefaultClientID, mxmtest.DefaultClientSecret, to)
	w.set("MXM_REDIRECT_URL", to)
}

// Settings of a real store: what loses tokens is named, too.
func TestStoreSettings(t *testing.T) {
	primary := engines.StartRedis(t)
	replica := engines.StartRedis(t, "--replicaof", strings.Replace(primary.Addr, ":", " ", 1))
	evicting := engines.StartRedis(t, "--maxmemory", "20mb", "--maxmemory-policy", "allkeys-lru")
	for addr, want := range map[string]doctor.Finding{
		primary.Addr:  {Verdict: doctor.OK, Came: "keeps what it acknowledges"},
		replica.Addr:  {Verdict: doctor.Wrong, Came: "replica"},
		evicting.Addr: {Verdict: doctor.Warning, Came: "evict"},
	} {
		w := healthy(t)
		w.set("MXM_STORE", "redis://"+addr+"/0")
		findings := doctor.Examine(t.Context(), patience)
		last := findings[len(findings)-1]
		require.Equal(t, "store", last.Check)
		require.Equal(t, want.Verdict, last.Verdict, last)
		require.Contains(t, last.Came, want.Came)
	}
	keys, err := primary.Client.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	require.Empty(t, keys, "it leaves nothing behind")
}

// A sound configuration has a line for each check, and no line is a complaint.
func TestHealthy(t *testing.T) {
	healthy(t)
	var checks []string
	for _, f := range doctor.Examine(t.Context(), patience) {
		require.Equal(t, doctor.OK, f.Verdict, f)
		checks = append(checks, f.Check)
	}
	require.Equal(t, []string{"configuration", "server", "clock", "discovery", "secret", "token-metadata", "redirect URL", "callback", "API", "store"}, checks)
}

// What cannot be known is not called wrong.
func TestUnknown(t *testing.T) {
	for name, c := range map[string]struct {
		make  func(world)
		check string
	}{
		"a page for every redirect URL": {func(w world) {
			w.srv.Fail(mxmtest.Authorize, mxmtest.HTML(200), mxmtest.Always())
		}, "redirect URL"},
		"no discovery document":            {func(w world) { w.srv.Fail(mxmtest.Discovery, mxmtest.Status(404, "", 0), mxmtest.Always()) }, "discovery"},
		"no Date":                          {func(w world) { w.srv.Configure(func(s *mxmtest.Settings) { s.NoDate = true }) }, "clock"},
		"an application that does not run": {func(w world) { w.redirect("http://" + closedPort(w.t) + "/callback") }, "callback"},
		"a token endpoint that is busy":    {func(w world) { w.srv.Fail(mxmtest.Token, mxmtest.Status(503, "{}", 0)) }, "secret"},
	} {
		t.Run(name, func(t *testing.T) {
			c.make(healthy(t))
			unknown := 0
			for _, f := range doctor.Examine(t.Context(), patience) {
				require.NotEqual(t, doctor.Wrong, f.Verdict, f)
				if f.Verdict == doctor.Unknown {
					unknown++
					require.Equal(t, c.check, f.Check)
				}
			}
			require.Equal(t, 1, unknown)
		})
	}
}

// A client that may not use client credentials has the right secret all the same.
func TestSecretOfAClientForUsers(t *testing.T) {
	for _, code := range []string{"unauthorized_client", "unsupported_grant_type", "invalid_scope"} {
		w := healthy(t)
		w.srv.Fail(mxmtest.Token, mxmtest.Status(400, `{"error":"`+code+`"}`, 0))
		for _, f := range doctor.Examine(t.Context(), patience) {
			require.Equal(t, doctor.OK, f.Verdict, f)
			if f.Check == "secret" {
				require.Contains(t, f.Came, "client ID and secret are right")
			}
		}
	}
}
