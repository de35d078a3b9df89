package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "mxmtest")
	out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	return binary
}

// start runs the command on a free port and returns its base URL.
func start(t *testing.T, binary string, args ...string) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	return cmd, strings.TrimSpace(line)
}

func TestCommand(t *testing.T) {
	binary := build(t)
	cmd, base := start(t, binary, "-client-id", "one", "-client-secret", "s1", "-second-client", "two:s2",
		"-redirect-uri", "https://a.example/cb,https://b.example/cb", "-redirect-uri", "https://c.example/cb",
		"-user", "mxm:100000000000000000007", "-access-lifetime", "90s", "-iss", "-revocation")
	browser := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	post := func(path string, pairs ...string) string {
		v := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		res, err := http.PostForm(base+path, v)
		require.NoError(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return string(body)
	}
	for _, client := range []string{"one", "two"} {
		for _, host := range []string{"a", "b", "c"} {
			redirect := fmt.Sprintf("https://%s.example/cb", host)
			query := url.Values{"client_id": {client}, "redirect_uri": {redirect}, "response_type": {"code"}, "scope": {"profile email"}, "state": {"s"}}
			res, err := browser.Get(base + "/oauth/authorize?" + query.Encode())
			require.NoError(t, err)
			res.Body.Close()
			back, err := res.Location()
			require.NoError(t, err)
			require.Equal(t, base, back.Query().Get("iss"))
			body := post("/oauth/token", "grant_type", "authorization_code", "client_id", client, "client_secret", "s"+map[string]string{"one": "1", "two": "2"}[client],
				"redirect_uri", redirect, "code", back.Query().Get("code"))
			require.Contains(t, body, `"expires_in":90,`)
		}
	}
	require.Contains(t, post("/oauth/token", "client_id", "mxmtest-client", "client_secret", "mxmtest+secret/for=tests&only"), "invalid_client",
		"credentials that were not asked for")
	require.Contains(t, post("/oauth/revoke"), "invalid_client")

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, wait(t, cmd), "a clean exit")
}

func TestInterrupt(t *testing.T) {
	cmd, base := start(t, build(t))
	res, err := http.Get(base + "/.well-known/oauth-authorization-server")
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Contains(t, string(body), `"issuer":"`+base+`"`)
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	require.NoError(t, wait(t, cmd))
}

func TestWrongUse(t *testing.T) {
	binary := build(t)
	for _, args := range [][]string{
		{"-nonsense"}, {"argument"}, {"-reuse", "sometimes"}, {"-kill", "all"}, {"-second-client", "two"}, {"-second-client", "mxmtest-client:x"},
		{"-redirect-uri", "/relative"}, {"-redirect-uri", "https://a.example/#f"}, {"-grace", "soon"}, {"-client-id", ""}, {"-client-secret", ""},
	} {
		out, err := exec.Command(binary, args...).CombinedOutput()
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, "%v", args)
		require.Equal(t, 2, exit.ExitCode(), "%v", args)
		require.LessOrEqual(t, strings.Count(string(out), "\n"), 2, "%s", out)
		require.NotEmpty(t, out)
	}
	out, err := exec.Command(binary, "-addr", "256.0.0.1:0").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "mxmtest: listen")
}

// -h explains each flag.
func TestHelp(t *testing.T) {
	out, err := exec.Command(build(t), "-h").CombinedOutput()
	require.NoError(t, err)
	for _, name := range []string{"addr", "client-id", "client-secret", "redirect-uri", "second-client", "code-lifetime", "access-lifetime", "refresh-lifetime",
		"reuse", "grace", "iss", "revocation", "user"} {
		require.Regexp(t, `(?m)^  -`+name+`\b.*\n    \t\w+`, string(out))
	}
}

func wait(t *testing.T, cmd *exec.Cmd) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
		return nil
	}
}
