//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// stage is a test binary with all mutants inside.
type stage struct {
	name   string
	dir    string // of its package
	binary string
	args   []string
	cpu    int           // seconds of the processor that it may take
	limit  time.Duration // what it may take in all
	doubt  bool          // it runs on real time, so a failure counts only if it comes twice
}

var stages = []stage{
	{name: "its tests", dir: target, cpu: 15, limit: 30 * time.Second},
	{name: "its simulation", dir: target + "/simulation", args: []string{"-test.run", "TestSimulation", "-sim.seeds", "500", "-sim.failures", "1"}, cpu: 30, limit: 90 * time.Second},
	{name: "core's tests", dir: "core", args: []string{"-test.run", "^Test"}, cpu: 30, limit: 2 * time.Minute, doubt: true},
}

// memory is what a process may take, in KiB: some mutants run in a circle.
const memory = 6 << 20

// build builds the test binaries, and sees each pass as no mutant at all.
func build(ctx context.Context, p *pkg, dir string) ([]stage, error) {
	replace := map[string]string{}
	for file, text := range p.sources {
		replace[file] = filepath.Join(dir, filepath.Base(file))
		if err := os.WriteFile(replace[file], text, 0o600); err != nil {
			return nil, err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, err
	}
	overlayFile := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		return nil, err
	}
	var built []stage
	for i, s := range stages {
		s.binary = filepath.Join(dir, strconv.Itoa(i)+".test")
		if out, err := exec.CommandContext(ctx, "go", "test", "-vet=off", "-c", "-overlay", overlayFile, "-o", s.binary, "./"+s.dir).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %s", s.name, out)
		}
		out, passed := s.try(ctx, 0, "")
		if !passed && s.doubt {
			out, passed = s.try(ctx, 0, "")
		}
		if !passed {
			return nil, fmt.Errorf("%s fail without a mutant: %s", s.name, out)
		}
		built = append(built, s)
	}
	return built, nil
}

// survived is the result of a mutant that every stage has let pass.
const survived = "survived"

var failedTest = regexp.MustCompile(`(?m)^--- FAIL: (\w+)`)

// run returns who has killed the mutant.
func (m mutant) run(ctx context.Context, stages []stage) string {
	for _, s := range stages {
		out, passed := s.try(ctx, m.id, "")
		if passed {
			continue
		}
		name := s.name
		if failed := failedTest.FindSubmatch(out); failed != nil {
			name += ": " + string(failed[1])
			if s.doubt {
				if _, passed = s.try(ctx, m.id, string(failed[1])); passed {
					continue
				}
			}
		}
		return name
	}
	return survived
}

// try runs the tests, or one of them, as mutant n, until the first failure.
func (s stage) try(ctx context.Context, n int, test string) (out []byte, passed bool) {
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	limits := fmt.Sprintf(`ulimit -t %d; ulimit -v %d; exec "$0" "$@"`, s.cpu, memory)
	args := append([]string{"-c", limits, s.binary, "-test.failfast"}, s.args...)
	if test != "" {
		args = append(args, "-test.run", "^"+test+"$")
	}
	var printed bytes.Buffer
	cmd := exec.CommandContext(ctx, "sh", args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, &printed, &printed
	cmd.Env = append(os.Environ(), "MXM_MUTANT="+strconv.Itoa(n), "MXM_TEST_ALL=")
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // it has left a process behind
	}
	return printed.Bytes(), err == nil
}
