package examples_test

import (
	"encoding/base64"
	"errors"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

const canary = "canary-secret"

var (
	goodKey = base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))

	credentials = []string{"MXM_CLIENT_ID=app", "MXM_CLIENT_SECRET=" + canary}
)

// refused runs an example that must not start: status 2, one line, which names
// the variable and prints no secret.
func refused(t *testing.T, name, variable string, env ...string) {
	t.Helper()
	cmd := command(t, name, env...)
	var stderr lockedBuffer
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	defer time.AfterFunc(30*time.Second, func() { _ = cmd.Process.Kill() }).Stop()
	err := cmd.Wait()
	var exit *exec.ExitError
	require.True(t, errors.As(err, &exit), "%v: it started: %v", env, err)
	require.Equal(t, 2, exit.ExitCode(), "%v: %s", env, &stderr)
	require.Equal(t, 1, strings.Count(stderr.String(), "\n"), "%v: one line: %s", env, &stderr)
	require.Contains(t, stderr.String(), variable+" ", "%v", env)
	require.NotContains(t, stderr.String(), canary, "%v", env)
}

func TestBadEnvironment(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	keys := "MXM_KEYS=" + goodKey
	cases := []struct {
		variable string
		env      []string
	}{
		{"ADDR", []string{"ADDR=nonsense"}},
		{"ADDR", []string{"ADDR=127.0.0.1"}},
		{"ADDR", []string{"ADDR=127.0.0.1:"}},
		{"ADDR", []string{"ADDR=127.0.0.1:99999"}},
		{"ADDR", []string{"ADDR=" + taken.Addr().String()}},
		{"ADDR", []string{"ADDR=256.0.0.1:80"}},
		{"MXM_REDIRECT_URL", []string{"ADDR=0.0.0.0:0"}},
		{"MXM_REDIRECT_URL", []string{"ADDR=:0"}},
		{"MXM_CLIENT_ID", []string{"MXM_CLIENT_SECRET=" + canary}},
		{"MXM_CLIENT_SECRET", []string{"MXM_CLIENT_ID=app"}},
		{"MXM_CLIENT_SECRET", []string{"MXM_CLIENT_ID=app", "MXM_CLIENT_SECRET=" + canary + "\a"}},
		{"MXM_BASE_URL", append(credentials, "MXM_BASE_URL=http://connect.example")},
		{"MXM_BASE_URL", append(credentials, "MXM_BASE_URL=connect.example")},
		{"MXM_BASE_URL", append(credentials, "MXM_BASE_URL=https://user:"+canary+"@connect.example")},
		{"MXM_BASE_URL", append(credentials, "MXM_BASE_URL=https://connect.example/?a="+canary)},
		{"MXM_REDIRECT_URL", []string{"MXM_REDIRECT_URL=/callback"}},
		{"MXM_REDIRECT_URL", []string{"MXM_REDIRECT_URL=http://app.example/auth/musixmatch/callback"}},
		{"MXM_REDIRECT_URL", []string{"MXM_REDIRECT_URL=https://app.example/auth/musixmatch/callback#x"}},
		{"MXM_REDIRECT_URL", []string{"MXM_REDIRECT_URL=https://app.example/auth/musixmatch/login"}},
		{"MXM_REDIRECT_URL", []string{"MXM_REDIRECT_URL=://"}},
		{"MXM_API_URL", []string{"MXM_API_URL=api.example"}},
		{"MXM_API_URL", []string{"MXM_API_URL=http://api.example"}},
		{"MXM_API_URL", []string{"MXM_API_URL=https://" + canary + "@api.example"}},
		{"MXM_API_URL", []string{"MXM_API_URL=https://api.example/?key=" + canary}},
		{"MXM_STORE", []string{"MXM_STORE=memory", keys}},
		{"MXM_STORE", []string{"MXM_STORE=memory:x", keys}},
		{"MXM_STORE", []string{"MXM_STORE=sqlite", keys}},
		{"MXM_STORE", []string{"MXM_STORE=mysql://x:" + canary + "@h/db", keys}},
		{"MXM_STORE", []string{"MXM_STORE=sqlite:", keys}},
		{"MXM_STORE", []string{"MXM_STORE=sqlite:" + filepath.Join(t.TempDir(), "missing", "x.db"), keys}},
		{"MXM_STORE", []string{"MXM_STORE=sqlite:" + t.TempDir(), keys}},
		{"MXM_STORE", []string{"MXM_STORE=redis://:" + canary + "@127.0.0.1:1", keys}},
		{"MXM_STORE", []string{"MXM_STORE=redis://:" + canary + "/x@127.0.0.1:1", keys}},
		{"MXM_STORE", []string{"MXM_STORE=redis://127.0.0.1:1/" + canary, keys}},
		{"MXM_STORE", []string{"MXM_STORE=redis://:" + canary + "@127.0.0.1:1,127.0.0.1:2", keys}},
		{"MXM_STORE", []string{"MXM_STORE=redis://:" + canary + "@127.0.0.1:1,127.0.0.1:2/1", keys}},
		{"MXM_STORE", []string{"MXM_STORE=redis://:" + canary + "@127.0.0.1:1,127.0.0.1:x", keys}},
		{"MXM_STORE", []string{"MXM_STORE=postgres://u:" + canary + "@127.0.0.1:1/db", keys}},
		{"MXM_STORE", []string{"MXM_STORE=postgres://u:" + canary + "@127.0.0.1:x/db", keys}},
		{"MXM_STORE", []string{"MXM_STORE=mysql://u:" + canary + "@127.0.0.1:1/db", keys}},
		{"MXM_STORE", []string{"MXM_STORE=mysql://u:" + canary + "@127.0.0.1:x/db", keys}},
		{"MXM_STORE", []string{"MXM_STORE=mysql://u:" + canary + "@127.0.0.1:1/db?tls=" + canary, keys}},
		{"MXM_KEYS", []string{"MXM_STORE=sqlite:" + filepath.Join(t.TempDir(), "x.db")}},
		{"MXM_KEYS", []string{"MXM_KEYS=" + canary}},
		{"MXM_KEYS", []string{"MXM_KEYS=" + base64.StdEncoding.EncodeToString([]byte(canary))}},
		{"MXM_KEYS", []string{"MXM_KEYS=" + goodKey + ","}},
		{"MXM_KEYS", []string{"MXM_KEYS=" + strings.Repeat("A", 43) + "="}},
		{"MXM_IDLE_TIMEOUT", []string{"MXM_IDLE_TIMEOUT=30"}},
		{"MXM_IDLE_TIMEOUT", []string{"MXM_IDLE_TIMEOUT=-1s"}},
		{"MXM_IDLE_TIMEOUT", []string{"MXM_IDLE_TIMEOUT=" + canary}},
		{"MXM_REFRESH_TIMEOUT", []string{"MXM_REFRESH_TIMEOUT=soon"}},
		{"MXM_REFRESH_TIMEOUT", []string{"MXM_REFRESH_TIMEOUT=10ms"}},
		{"MXM_REFRESH_TIMEOUT", []string{"MXM_REFRESH_TIMEOUT=1h"}},
	}
	for _, test := range cases {
		refused(t, "nethttp", test.variable, test.env...)
	}
	// The same code reads it on every framework.
	for _, name := range demos {
		refused(t, name, "MXM_IDLE_TIMEOUT", "MXM_IDLE_TIMEOUT=30")
	}
	// Two mistakes are reported at once.
	refused(t, "nethttp", "MXM_KEYS", "MXM_KEYS=x", "MXM_IDLE_TIMEOUT=x")
	refused(t, "nethttp", "MXM_IDLE_TIMEOUT", "MXM_KEYS=x", "MXM_IDLE_TIMEOUT=x")
}

func TestGoodEnvironment(t *testing.T) {
	srv := newServer(t)
	other := strings.ReplaceAll(goodKey, "M", "N")
	for _, env := range [][]string{
		{"MXM_IDLE_TIMEOUT=0", "MXM_REFRESH_TIMEOUT=1s"},
		{"MXM_KEYS=" + goodKey},
		{"MXM_KEYS=" + other + ", " + goodKey},
		{"MXM_KEYS=" + strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(goodKey), "=")},
		{"ADDR=localhost:0"},
		{"ADDR=[::1]:0"},
	} {
		app, c := startDemo(t, "nethttp", srv, env...), browser(t)
		signIn(t, c, app.URL)
		require.Equal(t, 200, get(t, c, app.URL+"/whoami").StatusCode, env)
		require.Zero(t, app.stop(), env)
	}
	// Behind a proxy: what is opened is the public origin, whatever ADDR says.
	app := start(t, "nethttp", "ADDR=0.0.0.0:0", "MXM_REDIRECT_URL=https://app.example/auth/musixmatch/callback", "MXM_BASE_URL=https://ignored.example")
	require.Equal(t, "https://app.example", app.URL)
	eventually(t, "it says so", func() bool { return strings.Contains(app.stderr.String(), "MXM_BASE_URL is not used") })
}

// The callback is where it is registered, and the other routes where they were.
func TestCallbackElsewhere(t *testing.T) {
	eachDemo(t, func(t *testing.T, name string) {
		srv := newServer(t)
		port := freePort(t)
		redirect := "http://" + port + "/cb"
		srv.AddClient(mxmtest.DefaultClientID, mxmtest.DefaultClientSecret, redirect)
		app, c := start(t, name, live(srv, "ADDR="+port, "MXM_REDIRECT_URL="+redirect)...), browser(t)
		callback := authorize(t, c, app.URL+"/auth/musixmatch/login")
		require.Contains(t, callback, redirect+"?")
		require.Equal(t, 303, get(t, c, callback).StatusCode)
		require.Contains(t, navigate(t, c, app.URL+"/").body, ada)
		require.Equal(t, 303, post(t, c, app.URL+"/auth/musixmatch/logout").StatusCode)
	})
}

// freePort is an address that was free a moment ago.
func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// A key that is new in front of the old one signs nobody out, and an application
// with another store finds nothing of the first.
func TestKeysAndRestart(t *testing.T) {
	srv := newServer(t)
	store := "MXM_STORE=sqlite:" + filepath.Join(t.TempDir(), "demo.db")
	newKey := base64.StdEncoding.EncodeToString([]byte("fedcba9876543210fedcba9876543210"))
	app, c := startDemo(t, "nethttp", srv, store, "MXM_KEYS="+goodKey), browser(t)
	signIn(t, c, app.URL)
	require.Zero(t, app.stop())

	addr := "ADDR=" + strings.TrimPrefix(app.URL, "http://")
	app = startDemo(t, "nethttp", srv, addr, store, "MXM_KEYS="+newKey+","+goodKey)
	require.JSONEq(t, `{"user_id":"`+ada+`"}`, get(t, c, app.URL+"/me").body)
	require.JSONEq(t, `{"sub":"`+ada+`"}`, get(t, c, app.URL+"/whoami").body)
	require.Zero(t, app.stop())

	app = startDemo(t, "nethttp", srv, addr, store, "MXM_KEYS="+newKey)
	require.Equal(t, 200, get(t, c, app.URL+"/me").StatusCode)
	require.Equal(t, "unavailable", get(t, c, app.URL+"/whoami").code(), "a wrong key costs no grant")
	require.Zero(t, app.stop())

	app = startDemo(t, "nethttp", srv, addr, store, "MXM_KEYS="+goodKey)
	require.Equal(t, 200, get(t, c, app.URL+"/whoami").StatusCode)
	for _, r := range srv.Requests() {
		require.False(t, r.Endpoint == mxmtest.Token && r.GrantType == "refresh_token", "nothing was spent")
	}
}
