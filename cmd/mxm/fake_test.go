package main_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	mxm "github.com/mxmconnect/mxmconnect/cmd/mxm"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/internal/setup"
)

// run calls a command in this process, to its end.
func run(t *testing.T, args ...string) (status int, out, problems string) {
	t.Helper()
	var o, p bytes.Buffer
	status = mxm.Run(t.Context(), args, strings.NewReader(""), &o, &p)
	return status, o.String(), p.String()
}

// startFake runs the fake on a free port until the test ends. It returns what it
// prints and its base URL.
func startFake(t *testing.T, args ...string) (printed, base string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, w := io.Pipe()
	var problems bytes.Buffer
	ended := make(chan int)
	go func() {
		ended <- mxm.Run(ctx, append([]string{"fake", "-addr", "127.0.0.1:0"}, args...), strings.NewReader(""), w, &problems)
	}()
	t.Cleanup(func() {
		cancel()
		require.Equal(t, 0, <-ended, problems.String())
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		printed += lines.Text() + "\n"
		if strings.HasPrefix(lines.Text(), "MXM_") {
			break
		}
	}
	require.Regexp(t, `^BaseURL: +"http://127.0.0.1:\d+",\n`, printed)
	return printed, strings.Split(printed, `"`)[1]
}

func TestFake(t *testing.T) {
	_, base := startFake(t, "-client-id", "one", "-client-secret", "s1", "-second-client", "two:s2",
		"-redirect-uri", "https://a.example/cb,https://b.example/cb", "-redirect-uri", "https://c.example/cb",
		"-user", "mxm:100000000000000000007", "-access-lifetime", "90s", "-iss", "-revocation")
	browser := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	post := func(path string, pairs ...string) string {
		v := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		res, err := browser.PostForm(base+path, v)
		require.NoError(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		return string(body)
	}
	for client, secret := range map[string]string{"one": "s1", "two": "s2"} {
		for _, host := range []string{"a", "b", "c"} {
			redirect := fmt.Sprintf("https://%s.example/cb", host)
			query := url.Values{"client_id": {client}, "redirect_uri": {redirect}, "response_type": {"code"}, "scope": {"profile email"}, "state": {"s"}}
			res, err := browser.Get(base + "/oauth/authorize?" + query.Encode())
			require.NoError(t, err)
			res.Body.Close()
			back, err := res.Location()
			require.NoError(t, err)
			require.Equal(t, base, back.Query().Get("iss"))
			body := post("/oauth/token", "grant_type", "authorization_code", "client_id", client, "client_secret", secret,
				"redirect_uri", redirect, "code", back.Query().Get("code"))
			require.Contains(t, body, `"expires_in":90,`)
		}
	}
	require.Contains(t, post("/oauth/token", "client_id", "mxmtest-client", "client_secret", "mxmtest+secret/for=tests&only"), "invalid_client",
		"credentials that were not asked for")
	require.Contains(t, post("/oauth/revoke"), "invalid_client")
}

// What the fake prints is a configuration that works, and a profile decides how it
// behaves. A flag behind the profile wins.
func TestFakePrintsAConfiguration(t *testing.T) {
	profile := filepath.Join(t.TempDir(), "profile.json")
	require.NoError(t, os.WriteFile(profile, []byte(`{"access_lifetime": "90s", "issuer": true}`), 0o600))
	printed, _ := startFake(t, "-profile", profile, "-access-lifetime", "2h")
	for _, pair := range regexp.MustCompile(`(MXM_\w+)='([^']*)'`).FindAllStringSubmatch(printed, -1) {
		t.Setenv(pair[1], pair[2])
	}
	var env setup.Environment
	cfg, offline := env.Musixmatch(env.RedirectURL(""))
	require.Nil(t, offline)
	cfg.Keys = env.Keys("MXM_KEYS")
	cfg.APIOrigins = []string{env.Origin("MXM_API_URL", os.Getenv("MXM_API_URL"))}
	require.NoError(t, env.Err())
	for _, value := range []string{cfg.BaseURL, cfg.ClientID, cfg.ClientSecret, cfg.RedirectURL, cfg.APIOrigins[0], string(cfg.Keys[0])} {
		require.Contains(t, printed, strconv.Quote(value))
	}
	endpoint, err := core.Discover(t.Context(), cfg.BaseURL, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}})
	require.NoError(t, err)
	require.True(t, endpoint.IssRequired, "of the profile")
	auth, err := core.New(cfg)
	require.NoError(t, err)
	token, err := auth.AppTokenSource(t.Context()).Token()
	require.NoError(t, err)
	require.Greater(t, time.Until(token.Expiry), 100*time.Minute, "of the flag")
	require.NoError(t, auth.Close(t.Context()))
}

func TestFakeIsInterrupted(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "mxm")
	out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	cmd := exec.Command(binary, "fake", "-addr", "127.0.0.1:0")
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill() })
	_, err = bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		require.NoError(t, err, "a clean exit")
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
}

func TestWrongUse(t *testing.T) {
	for _, args := range [][]string{
		{}, {"nonsense"}, {"doctor", "-nonsense"}, {"probe", "argument"},
		{"fake", "-nonsense"}, {"fake", "argument"}, {"fake", "-reuse", "sometimes"}, {"fake", "-kill", "all"}, {"fake", "-second-client", "two"},
		{"fake", "-second-client", "mxmtest-client:x"}, {"fake", "-redirect-uri", "/relative"}, {"fake", "-redirect-uri", "https://a.example/#f"},
		{"fake", "-grace", "soon"}, {"fake", "-client-id", ""}, {"fake", "-client-secret", ""}, {"fake", "-profile", "missing.json"},
	} {
		status, out, problems := run(t, args...)
		require.Equal(t, 2, status, "%v", args)
		require.Empty(t, out)
		require.NotEmpty(t, problems)
		require.True(t, len(args) == 0 || strings.Count(problems, "\n") == 1, problems)
	}
	status, _, problems := run(t, "fake", "-addr", "256.0.0.1:0")
	require.Equal(t, 1, status)
	require.Contains(t, problems, "mxm fake: listen")
}

// -h lists the commands, and explains each flag of each of them.
func TestHelp(t *testing.T) {
	status, out, _ := run(t, "-h")
	require.Equal(t, 0, status)
	for _, command := range []string{"doctor", "probe", "fake"} {
		require.Contains(t, out, "mxm "+command)
		status, help, problems := run(t, command, "-h")
		require.Equal(t, 0, status)
		require.Empty(t, problems)
		require.Regexp(t, `^mxm `+command+` \w`, help)
		flags := regexp.MustCompile(`(?m)^  -[\w-]+\b.*\n    \t\w+`).FindAllString(help, -1)
		require.NotEmpty(t, flags, help)
		require.Len(t, flags, strings.Count(help, "\n  -"), "a flag has no explanation:\n%s", help)
	}
}
