package examples_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"github.com/mxmconnect/mxmconnect/internal/testall"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
)

// The starter is copied into a module of its own, as a user copies it, and built
// there. Then compose.yaml is carried out without containers: every command with
// its environment, on free ports. Redis is a real one.
func TestStarter(t *testing.T) {
	testall.Long(t)
	dir := t.TempDir()
	buildStarter(t, dir)
	out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "mxm"), "../cmd/mxm").CombinedOutput()
	require.NoError(t, err, string(out))

	redis := engines.StartRedis(t)
	text, err := os.ReadFile("starter/compose.yaml")
	require.NoError(t, err)
	port := func() string { return strings.TrimPrefix(freePort(t), "127.0.0.1:") }
	one, two, fake := port(), port(), port()
	var compose struct {
		Services map[string]struct {
			Command     []string
			Environment map[string]string
		}
	}
	ports := strings.NewReplacer("8080", one, "8081", two, "9090", fake, "redis://localhost:6379/0", redis.URL())
	require.NoError(t, yaml.Unmarshal([]byte(ports.Replace(string(text))), &compose))

	var instances []*exec.Cmd
	for _, name := range []string{"musixmatch", "one", "two"} {
		service := compose.Services[name]
		require.Equal(t, []string{"go", "run"}, service.Command[:2])
		cmd := exec.Command(filepath.Join(dir, filepath.Base(service.Command[2])), service.Command[3:]...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
		for variable, value := range service.Environment {
			cmd.Env = append(cmd.Env, variable+"="+value)
		}
		if name == "musixmatch" { // nobody is there to click
			cmd.Args = append(cmd.Args, "-user", ada, "-redirect-uri", "http://localhost:"+one+"/auth/musixmatch/callback")
		}
		var said lockedBuffer
		cmd.Stderr = &said
		require.NoError(t, cmd.Start())
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if t.Failed() {
				t.Logf("%s said:\n%s", name, tail(said.String(), 2000))
			}
		})
		instances = append(instances, cmd)
	}

	// One sign-in, begun at the second instance and at the other name of this
	// machine, is good at both.
	c := browser(t)
	home := "http://127.0.0.1:" + two + "/"
	for _, port := range []string{one, two} {
		eventually(t, "an instance answers", func() bool {
			res, err := c.Get("http://localhost:" + port)
			if err == nil {
				res.Body.Close()
			}
			return err == nil
		})
	}
	require.Contains(t, get(t, c, home).body, `<a href="/auth/musixmatch/login?return_to=%2Fwhoami">`)
	at := navigate(t, c, home+"auth/musixmatch/login?return_to=%2Fwhoami")
	for at.StatusCode == http.StatusSeeOther || at.StatusCode == http.StatusFound {
		next, err := at.Location()
		require.NoError(t, err)
		at = navigate(t, c, next.String())
	}
	require.Equal(t, "http://localhost:"+one+"/whoami", at.Request.URL.String())
	require.Contains(t, at.body, ada)
	require.Contains(t, get(t, c, "http://localhost:"+two+"/whoami").body, ada)
	require.Equal(t, http.StatusSeeOther, post(t, c, "http://localhost:"+two+"/auth/musixmatch/logout").StatusCode)
	require.Equal(t, http.StatusUnauthorized, get(t, c, "http://localhost:"+one+"/whoami").StatusCode)

	for _, cmd := range instances[1:] {
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		require.NoError(t, cmd.Wait(), "a clean exit")
	}
}

// buildStarter builds the starter in an empty module.
func buildStarter(t *testing.T, dir string) {
	t.Helper()
	source, err := os.ReadFile("starter/main.go")
	require.NoError(t, err)
	require.NotContains(t, string(source), "/internal/")
	repository, err := filepath.Abs("..")
	require.NoError(t, err)
	module := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(module, "main.go"), source, 0o600))
	for _, args := range [][]string{
		{"mod", "init", "example.com/starter"},
		{"mod", "edit", "-replace", "github.com/mxmconnect/mxmconnect=" + repository},
		{"mod", "tidy"},
		{"build", "-o", filepath.Join(dir, "starter"), "."},
	} {
		cmd := exec.Command("go", args...)
		cmd.Dir = module
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
	}
}
