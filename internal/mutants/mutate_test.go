//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const original = `package main

import "time"

type box struct {
	n    int
	wait time.Duration
}

func (b *box) set(x, y int) bool {
	if x < y && y != 3 {
		b.n = max(x, y)
		return true
	}
	switch {
	case x == y:
		b.n += 2
		b.wait = 4 * time.Second
	}
	return false
}

func main() {
	text := "abc"
	b := box{n: len(text)}
	println(b.set(1, 2), b.n)
	println(b.set(2, 2), b.n, b.wait.String())
	println(b.set(3, 2), b.n)
}
`

func instrumented(t *testing.T) *pkg {
	t.Helper()
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("go.mod", []byte("module box\n\ngo 1.26\n"), 0o600))
	require.NoError(t, os.WriteFile("box.go", []byte(original), 0o600))
	p, err := load(".")
	require.NoError(t, err)
	return p
}

func TestEveryMutantIsAnotherProgram(t *testing.T) {
	p := instrumented(t)
	for file, text := range p.sources {
		require.NoError(t, os.WriteFile(file, text, 0o600))
	}
	out, err := exec.Command("go", "build").CombinedOutput()
	require.NoError(t, err, string(out))
	prints := func(n int) string {
		cmd := exec.Command("./box")
		cmd.Env = append(os.Environ(), "MXM_MUTANT="+strconv.Itoa(n))
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	require.Equal(t, "true 2\nfalse 4 4s\nfalse 4\n", prints(0))
	const same = "box.go box.set: x < y && y != 3 becomes x < y" // no y is 3
	for _, m := range p.mutants {
		if strings.HasPrefix(m.key, "box.go main: ") {
			continue
		}
		require.Equal(t, m.key == same, prints(m.id) == prints(0), m.key)
	}
}

func TestMutants(t *testing.T) {
	var keys []string
	for _, m := range instrumented(t).mutants {
		keys = append(keys, m.key)
	}
	require.Subset(t, keys, []string{
		"box.go box.set: not x < y",
		"box.go box.set: x < y becomes x <= y",
		"box.go box.set: not x < y && y != 3",
		"box.go box.set: x < y && y != 3 becomes (x < y) || (y != 3)",
		"box.go box.set: x < y && y != 3 becomes y != 3",
		"box.go box.set: removed: b.n = max(x, y)",
		"box.go box.set: max(x, y) becomes min(x, y)",
		"box.go box.set: removed: return true",
		"box.go box.set: x == y becomes false",
		"box.go box.set: the case is empty that begins b.n += 2",
		"box.go box.set: 2 becomes int(2) + 1",
		"box.go box.set: 4 * time.Second becomes time.Duration(4 * time.Second) / 2",
		"box.go main: without the field n: len(text)",
	})
	require.NotContains(t, keys, "box.go box.set: removed: return false", "nothing is left to do after the last return")
}

// What a run has found out is kept for the same sources only, and a survivor that is
// called equivalent is not counted, unless it is killed.
func TestBook(t *testing.T) {
	file := filepath.Join(t.TempDir(), "results")
	a, b, c := mutant{1, 1, "f.go a"}, mutant{2, 2, "f.go b"}, mutant{3, 3, "f.go c"}
	first, err := openBook(file, "one")
	require.NoError(t, err)
	require.NoError(t, first.note(a, "its tests: TestX"))
	require.NoError(t, first.note(b, survived))
	first.close()
	again, err := openBook(file, "one")
	require.NoError(t, err)
	defer again.close()
	require.Equal(t, map[string]string{a.key: "its tests: TestX", b.key: survived}, again.known)
	other, err := openBook(file, "two")
	require.NoError(t, err)
	defer other.close()
	require.Empty(t, other.known)

	all := []mutant{a, b, c}
	var out bytes.Buffer
	require.ErrorContains(t, again.report(&out, all, nil, 95), "less than 95 %")
	require.Contains(t, out.String(), "survived: f.go:2 b\n")
	require.Contains(t, out.String(), "1 of 2 mutants killed, 50.0 %")
	require.NoError(t, again.report(&out, all, map[string]string{b.key: "why"}, 95))
	require.ErrorContains(t, again.report(&out, all, map[string]string{a.key: "why"}, 0), "is killed by its tests: TestX")
}

func TestEquivalents(t *testing.T) {
	file := filepath.Join(t.TempDir(), "equivalents.txt")
	read := func(text string) (map[string]string, error) {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		return readEquivalents(file, []mutant{{1, 1, "f.go a"}})
	}
	why, err := read("# comment\nf.go a\tbecause\n")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"f.go a": "because"}, why)
	_, err = read("f.go gone\tbecause\n")
	require.ErrorContains(t, err, "there is no such mutant")
	_, err = read("f.go a\n")
	require.ErrorContains(t, err, "no reason")
}
