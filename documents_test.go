package mxmconnect_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// documents returns every Markdown file, by its path.
func documents(t *testing.T) map[string]string {
	texts := map[string]string{}
	for _, path := range find(t, ".md") {
		texts[path] = read(t, path)
	}
	require.Contains(t, texts, "README.md")
	require.Contains(t, texts, filepath.Join("docs", "production.md"))
	return texts
}

func read(t *testing.T, path string) string {
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

// find returns the files whose names end so, without hidden directories.
func find(t *testing.T, suffix string) (paths []string) {
	require.NoError(t, filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && len(path) > 1 && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case !d.IsDir() && strings.HasSuffix(path, suffix):
			paths = append(paths, path)
		}
		return nil
	}))
	return paths
}

var (
	goBlock  = regexp.MustCompile("(?s)```go\n(.*?)```")
	command  = regexp.MustCompile(`(?m)^    (go [^\n]+)$`)
	link     = regexp.MustCompile(`\]\(([^)#]+)[^)]*\)`)
	testName = regexp.MustCompile(`\b(Test|Fuzz|Benchmark|Example)[A-Z_]\w*`)
	testFile = regexp.MustCompile("`([\\w/]+_test\\.go)`")
	// `TestA` in `file`, `TestA` and `TestB` in `file`
	testsInFile = regexp.MustCompile("((?:`\\w+`(?:,| and)? )+)in `([\\w/]+_test\\.go)`")
)

// A whole program in a document is compiled as it stands there. A part of one
// stands, apart from its indentation, in a Go file of this module, which is
// compiled anyway.
func TestDocumentedCodeCompiles(t *testing.T) {
	var sources []string
	for _, path := range find(t, ".go") {
		sources = append(sources, unindented(read(t, path)))
	}
	programs := 0
	for path, text := range documents(t) {
		for _, block := range goBlock.FindAllStringSubmatch(text, -1) {
			code := block[1]
			if strings.HasPrefix(code, "package ") {
				programs++
				vet(t, code)
				continue
			}
			stands := slices.ContainsFunc(sources, func(s string) bool { return strings.Contains(s, unindented(code)) })
			require.True(t, stands, "no Go file contains this code of %s:\n%s", path, code)
		}
	}
	require.Positive(t, programs, "the README's")
}

func vet(t *testing.T, program string) {
	file := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(file, []byte(program), 0o600))
	out, err := exec.CommandContext(t.Context(), "go", "vet", file).CombinedOutput()
	require.NoError(t, err, string(out))
	out, err = exec.CommandContext(t.Context(), "gofmt", "-l", file).CombinedOutput()
	require.NoError(t, err)
	require.Empty(t, string(out), "the program is not formatted")
}

func unindented(code string) string {
	lines := strings.Split(strings.TrimSpace(code), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}

// The first screen is one sentence, the program, and three commands. The whole
// README fits on a few.
func TestREADMEBeginsWithOneScreen(t *testing.T) {
	readme := read(t, "README.md")
	require.LessOrEqual(t, strings.Count(readme, "\n"), 120)
	for line := range strings.Lines(readme) {
		require.Less(t, len([]rune(line)), 121, line)
	}
	screen, _, found := strings.Cut(readme, "\n## ")
	require.True(t, found)
	require.LessOrEqual(t, strings.Count(screen, "\n"), 50)
	commands := command.FindAllStringSubmatch(screen, -1)
	require.Len(t, commands, 3)
	require.Equal(t, "go get github.com/mxmconnect/mxmconnect@v0.1.0 && go mod tidy", commands[0][1])
	require.Equal(t, "go test ./...", commands[2][1])
	program, ok := strings.CutPrefix(commands[1][1], "go run ")
	require.True(t, ok)
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Name}}", program).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, "main\n", string(out))
}

// Whatever a document links to or names as a proof exists, where it says.
func TestDocumentsNameWhatExists(t *testing.T) {
	definition := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark|Example)\w*)\(`)
	defined := map[string][]string{} // test to its files
	for _, path := range find(t, "_test.go") {
		for _, m := range definition.FindAllStringSubmatch(read(t, path), -1) {
			defined[m[1]] = append(defined[m[1]], filepath.ToSlash(path))
		}
	}
	require.NotEmpty(t, defined["TestDocumentsNameWhatExists"])
	for path, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(m[1], "://") {
				_, err := os.Stat(filepath.Join(filepath.Dir(path), filepath.FromSlash(m[1])))
				require.NoError(t, err, path)
			}
		}
		for _, name := range testName.FindAllString(text, -1) {
			require.NotEmpty(t, defined[name], "%s names %s, which does not exist", path, name)
		}
		for _, m := range testFile.FindAllStringSubmatch(text, -1) {
			require.FileExists(t, filepath.FromSlash(m[1]), path)
		}
		for _, m := range testsInFile.FindAllStringSubmatch(text, -1) {
			for _, name := range testName.FindAllString(m[1], -1) {
				require.Contains(t, defined[name], m[2], "%s says that %s is there", path, name)
			}
		}
	}
}
