package simulation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/mxmconnect/mxmconnect/internal/testall"
)

// mutation breaks one rule of the protocol. The simulation must notice.
type mutation struct {
	name    string
	edits   []edit
	profile string
	seed    uint64 // the first of this profile that is known to show it
	breaks  string // the invariant
}

// edit replaces a snippet that occurs once in package grant, whichever file it is in.
type edit struct{ old, new string }

// mutationSeeds is how many histories are tried where the recorded one has
// nothing to show any more: a change elsewhere in the protocol moves all times.
const mutationSeeds = 6000

var violationLine = regexp.MustCompile(`-sim\.seed (\d+): (I\d) (.*)`)

// The test of the test: with any of these changes the simulation fails, and
// names the invariant that is broken.
func TestMutations(t *testing.T) {
	testall.Long(t) // it compiles package grant once for each mutation
	if testall.Race {
		t.Skip("the histories are the same without the race detector, and quicker")
	}
	source, err := filepath.Abs("..")
	require.NoError(t, err)
	var group errgroup.Group
	group.SetLimit(2)
	for _, m := range mutations {
		if !strings.HasPrefix(m.name, *mutant) {
			continue
		}
		dir := t.TempDir()
		group.Go(func() error {
			began := time.Now()
			found, err := m.hunt(source, dir)
			if err != nil {
				t.Errorf("%s: %v", m.name, err)
				return nil
			}
			t.Logf("%-40s %s (%s)", m.name, found, time.Since(began).Round(100*time.Millisecond))
			return nil
		})
	}
	require.NoError(t, group.Wait())
}

// hunt builds the simulation with the mutation in package grant and runs it
// until it fails.
func (m mutation) hunt(source, dir string) (found string, err error) {
	binary := filepath.Join(dir, "simulation.test")
	if err := m.build(source, dir, binary); err != nil {
		return "", err
	}
	seed, invariant, text := m.run(binary, m.seed, 1, 1)
	note := ""
	if seed == 0 {
		seed, invariant, text = m.run(binary, 1, mutationSeeds, 3)
		note = fmt.Sprintf("; seed %d no longer shows it: record %d", m.seed, seed)
	}
	switch {
	case seed == 0:
		return "", fmt.Errorf("the simulation does not notice (profile %s): %s", m.profile, text)
	case !strings.Contains(m.breaks, invariant):
		note += "; recorded is " + m.breaks
	}
	return fmt.Sprintf("is caught by %s, -sim.profile %s -sim.seed %d: %s%s", invariant, m.profile, seed, text, note), nil
}

func (m mutation) build(source, dir, binary string) error {
	files, err := filepath.Glob(filepath.Join(source, "*.go"))
	if err != nil {
		return err
	}
	texts := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if !strings.HasSuffix(file, "_test.go") {
			texts[file] = string(text)
		}
	}
	replace := map[string]string{}
	for _, e := range m.edits {
		found := 0
		for file, text := range texts {
			n := strings.Count(text, e.old)
			if found += n; n == 1 {
				texts[file] = strings.Replace(text, e.old, e.new, 1)
				replace[file] = filepath.Join(dir, filepath.Base(file))
			}
		}
		if found != 1 {
			return fmt.Errorf("its snippet is found %d times, not once: adapt the mutation to the code\n%s", found, e.old)
		}
	}
	for file, mutant := range replace {
		if err := os.WriteFile(mutant, []byte(texts[file]), 0o600); err != nil {
			return err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return err
	}
	overlayFile := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		return err
	}
	out, err := exec.Command("go", "test", "-vet=off", "-c", "-overlay", overlayFile, "-o", binary, ".").CombinedOutput()
	if err != nil {
		return fmt.Errorf("it does not compile: %s", out)
	}
	return nil
}

// run runs n seeds, fewer after some failures, and returns the first violation
// of the invariant that is expected, or else of another.
func (m mutation) run(binary string, from uint64, n, failures int) (seed uint64, invariant, text string) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-test.run", "TestSimulation", "-sim.profile", m.profile,
		"-sim.from", strconv.FormatUint(max(from, 1), 10), "-sim.seeds", strconv.Itoa(n), "-sim.failures", strconv.Itoa(failures))
	out, err := cmd.CombinedOutput()
	for _, found := range violationLine.FindAllSubmatch(out, -1) {
		if expected := strings.Contains(m.breaks, string(found[2])); seed == 0 || expected {
			seed, _ = strconv.ParseUint(string(found[1]), 10, 64)
			invariant, text = string(found[2]), string(found[3])
			if expected {
				break
			}
		}
	}
	if seed != 0 {
		return seed, invariant, text
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) { // it died without a verdict
		return 0, "", string(out[:min(len(out), 2000)])
	}
	return 0, "", fmt.Sprintf("%d seeds", n)
}
