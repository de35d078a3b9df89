package examples_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
)

// sharedStores start an engine, or skip, and return its MXM_STORE.
var sharedStores = map[string]func(t *testing.T) string{
	"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "demo.db") },
	"redis":    func(t *testing.T) string { return engines.StartRedis(t).URL() },
	"postgres": func(t *testing.T) string { return engines.StartPostgres(t).URL() },
	"mariadb":  func(t *testing.T) string { return engines.StartMariaDB(t).URL() },
}

// eachStore runs a test on every engine that several processes can share.
func eachStore(t *testing.T, test func(t *testing.T, env []string)) {
	for name, open := range sharedStores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, []string{"MXM_STORE=" + open(t), "MXM_KEYS=" + goodKey})
		})
	}
}

// startTwin starts another instance of the same application: same origin for
// browsers, same store, another port.
func startTwin(t testing.TB, p *process, srv *mxmtest.Server, env ...string) *process {
	t.Helper()
	return startTwinAt(t, "127.0.0.1:0", p, srv, env...)
}

func startTwinAt(t testing.TB, addr string, p *process, srv *mxmtest.Server, env ...string) *process {
	t.Helper()
	env = append(env, "ADDR="+addr, "MXM_REDIRECT_URL="+p.URL+mxmtest.CallbackPath)
	twin := start(t, "nethttp", live(srv, env...)...)
	// It says where browsers go, which is the first one.
	eventually(t, "it listens", func() bool { return listening.MatchString(twin.stderr.String()) })
	twin.URL = "http://" + listening.FindStringSubmatch(twin.stderr.String())[1]
	return twin
}

var listening = regexp.MustCompile(`"msg":"listening","address":"([^"]+)"`)

// Signed in on one instance is signed in on all, and signed out likewise.
func TestInstancesShareAStore(t *testing.T) {
	eachStore(t, func(t *testing.T, env []string) {
		srv := newServer(t)
		one, c := startDemo(t, "nethttp", srv, env...), browser(t)
		two := startTwin(t, one, srv, env...)
		callback := authorize(t, c, two.URL+"/auth/musixmatch/login")
		require.True(t, strings.HasPrefix(callback, one.URL), "one origin")
		require.Equal(t, 303, get(t, c, callback).StatusCode, "the flow may end on another instance than it began")
		require.JSONEq(t, `{"sub":"`+ada+`"}`, get(t, c, two.URL+"/whoami").body)
		require.Equal(t, 303, post(t, c, one.URL+"/auth/musixmatch/logout").StatusCode)
		require.Equal(t, 401, get(t, c, two.URL+"/me").StatusCode)
	})
}

func TestStoreDown(t *testing.T) {
	redis := engines.StartRedis(t)
	srv := newServer(t)
	app, c := startDemo(t, "nethttp", srv, "MXM_STORE="+redis.URL(), "MXM_KEYS="+goodKey), browser(t)
	signIn(t, c, app.URL)
	redis.Kill()
	home := navigate(t, c, app.URL+"/")
	require.Equal(t, 503, home.StatusCode, "nobody can say who is signed in")
	require.NotContains(t, home.body, "Sign in")
	require.Contains(t, home.body, "nobody can say whether you are signed in")
	require.Equal(t, 200, navigate(t, browser(t), app.URL+"/").StatusCode, "a visitor without a session is nobody")
	require.Equal(t, "ok", get(t, c, app.URL+"/healthz").body)
	res := get(t, c, app.URL+"/me")
	require.Equal(t, 503, res.StatusCode)
	require.Equal(t, "unavailable", res.code())
	require.NotEmpty(t, res.Header.Get("Retry-After"))
	redis.Start()
	eventually(t, "it recovers, and nobody is signed out", func() bool { return get(t, c, app.URL+"/whoami").StatusCode == 200 })
	require.Empty(t, refreshes(srv))
}

func TestRedisOverTLS(t *testing.T) {
	redis, _ := engines.StartRedisTLS(t, "--tls-auth-clients", "no")
	env := []string{"MXM_STORE=rediss://" + redis.Addr + "/0", "MXM_KEYS=" + goodKey}
	refused(t, "nethttp", "MXM_STORE", append(env, credentials...)...) // nobody it knows signed for that server

	app, c := startDemo(t, "nethttp", newServer(t), append(env, "SSL_CERT_FILE="+filepath.Join(redis.Dir, "ca.pem"))...), browser(t)
	signIn(t, c, app.URL)
	require.Equal(t, 200, get(t, c, app.URL+"/whoami").StatusCode)
}
