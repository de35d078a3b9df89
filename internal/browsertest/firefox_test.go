package browsertest

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/internal/testall"
)

// tool returns the path of a program, and skips the test if it is missing.
func tool(t *testing.T, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		testall.Missing(t, name, debian)
	}
	return path
}

// installVisit returns the directory of visit.mjs with what it needs from npm.
func installVisit(t *testing.T) string {
	t.Helper()
	npm, dir := tool(t, "npm", "npm"), t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS("firefox")))
	cmd := exec.Command(npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		if testall.Set() {
			require.NoError(t, err, string(out))
		}
		t.Skip("npm cannot install what this needs")
	}
	return dir
}

// Firefox signs in, is refused and signs out, on every demo. axe-core, a screen
// reader's view of a page, finds nothing wrong with any page on the way.
func TestFirefox(t *testing.T) {
	firefox, node := tool(t, "firefox-esr", "firefox-esr"), tool(t, "node", "nodejs")
	dir := installVisit(t)
	eachDemo(t, func(t *testing.T, demo string) {
		app := startDemo(t, demo, newServer(t))
		cmd := exec.Command(node, filepath.Join(dir, "visit.mjs"), firefox, app)
		cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
		var errs strings.Builder
		cmd.Stderr = &errs
		out, err := cmd.Output()
		require.NoError(t, err, errs.String())
		pages := map[string]string{}
		for lines := json.NewDecoder(strings.NewReader(string(out))); ; {
			var page struct {
				Name, URL, Text   string
				H1                int
				Violations, Focus []string
			}
			if err := lines.Decode(&page); err == io.EOF {
				break
			} else {
				require.NoError(t, err, string(out))
			}
			t.Logf("%s: %d headings, focus %q", page.Name, page.H1, page.Focus)
			require.Empty(t, page.Violations, page.Name)
			require.Equal(t, 1, page.H1, page.Name)
			require.NotEmpty(t, page.Focus, "%s: the keyboard reaches something", page.Name)
			pages[page.Name] = page.Text
		}
		for name, text := range map[string]string{
			"home": home, "consent": "Who are you?", "denied": "Nothing was connected", "signed in": signedIn,
			"signed in, reloaded": signedIn, "signed out": home, "not found": "Not found", "forged": "did not work",
		} {
			require.Contains(t, pages[name], text, name)
		}
	})
}
