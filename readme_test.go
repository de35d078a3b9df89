package mxmconnect_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func readme(t *testing.T) string {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	return string(text)
}

var (
	goBlock  = regexp.MustCompile("(?s)```go\n(.*?)```")
	command  = regexp.MustCompile(`(?m)^    (go [^\n]+)$`)
	link     = regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`)
	testName = regexp.MustCompile(`\b(Test|Fuzz|Benchmark|Example)[A-Z_]\w*`)
)

// A whole program in the README is compiled as it stands there. A part of one
// stands, apart from its indentation, in a Go file of this module, which is
// compiled anyway.
func TestREADMECodeCompiles(t *testing.T) {
	blocks := goBlock.FindAllStringSubmatch(readme(t), -1)
	require.NotEmpty(t, blocks)
	programs := 0
	for _, b := range blocks {
		code := b[1]
		if !strings.HasPrefix(code, "package ") {
			require.True(t, standsInAFile(t, code), "nothing that is compiled holds this code of the README:\n%s", code)
			continue
		}
		programs++
		file := filepath.Join(t.TempDir(), "main.go")
		require.NoError(t, os.WriteFile(file, []byte(code), 0o600))
		out, err := exec.CommandContext(t.Context(), "go", "vet", file).CombinedOutput()
		require.NoError(t, err, string(out))
		out, err = exec.CommandContext(t.Context(), "gofmt", "-l", file).CombinedOutput()
		require.NoError(t, err)
		require.Empty(t, string(out), "the program is not formatted")
	}
	require.Equal(t, 1, programs)
}

func standsInAFile(t *testing.T, code string) bool {
	found := false
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || found || filepath.Ext(path) != ".go" || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		found = strings.Contains(unindented(string(text)), unindented(code))
		return err
	}))
	return found
}

func unindented(code string) string {
	lines := strings.Split(strings.TrimSpace(code), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}

// The first screen is one sentence, the program, and two commands.
func TestREADMEBeginsWithOneScreen(t *testing.T) {
	screen, _, found := strings.Cut(readme(t), "\n## ")
	require.True(t, found)
	require.LessOrEqual(t, strings.Count(screen, "\n"), 50)
	commands := command.FindAllStringSubmatch(screen, -1)
	require.Len(t, commands, 2)
	require.Equal(t, "go test ./...", commands[1][1])
	program, ok := strings.CutPrefix(commands[0][1], "go run ")
	require.True(t, ok)
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Name}}", program).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, "main\n", string(out))
}

// Whatever a document names as a proof exists.
func TestDocumentsNameWhatExists(t *testing.T) {
	defined := map[string]bool{}
	definition := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark|Example)\w*)\(`)
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range definition.FindAllStringSubmatch(string(text), -1) {
			defined[m[1]] = true
		}
		return err
	}))
	require.True(t, defined["TestDocumentsNameWhatExists"])
	for _, document := range []string{"README.md", "SECURITY.md", "CHANGELOG.md"} {
		text, err := os.ReadFile(document)
		require.NoError(t, err)
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if !strings.Contains(m[1], "://") {
				_, err := os.Stat(filepath.FromSlash(m[1]))
				require.NoError(t, err, document)
			}
		}
		for _, name := range testName.FindAllString(string(text), -1) {
			require.True(t, defined[name], "%s names %s, which does not exist", document, name)
		}
	}
}
