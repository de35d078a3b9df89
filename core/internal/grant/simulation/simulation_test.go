package simulation_test

import (
	"flag"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mxmconnect/mxmconnect/internal/testall"
)

var (
	seeds       = flag.Int("sim.seeds", 0, "how many histories to run, over all profiles")
	oneSeed     = flag.Uint64("sim.seed", 0, "run this history only, and print its trace")
	oneProfile  = flag.String("sim.profile", "", "the weather; default: all")
	failures    = flag.Int("sim.failures", 10, "give up a profile after so many")
	firstOfMany = flag.Uint64("sim.from", 1, "the first seed")
	ahead       = flag.Bool("sim.ahead", false, "run the profiles that the protocol does not withstand yet, too")
	mutant      = flag.String("sim.mutation", "", "run the mutations whose name begins so, only")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if !testall.Race {
		runtime.GOMAXPROCS(1) // one order of goroutines for one seed
	}
	goleak.VerifyTestMain(m)
}

// run runs one history in a bubble of its own, with a trace if it is asked for.
func run(t *testing.T, seed uint64, p profile, tracing bool) *world {
	t.Helper()
	// Real time, outside the bubble: code that waits for a lock or runs in a
	// circle stops virtual time.
	watchdog := time.AfterFunc(2*time.Minute, func() {
		panic(fmt.Sprintf("profile %s, seed %d: virtual time stands still", p.name, seed))
	})
	defer watchdog.Stop()
	cryptotest.SetGlobalRandom(t, seed)
	var w *world
	synctest.Test(t, func(*testing.T) { w = history(seed, p, tracing) })
	return w
}

// Thousands of histories, and in none a token is wasted that could have been kept.
func TestSimulation(t *testing.T) {
	chosen := slices.DeleteFunc(slices.Clone(profiles), func(p profile) bool { return p.ahead != "" && !*ahead })
	if *oneProfile != "" {
		p, ok := profileNamed(*oneProfile)
		if !ok {
			t.Fatalf("there is no profile %q", *oneProfile)
		}
		chosen = []profile{p}
	}
	from, n := *firstOfMany, max(1, *seeds/len(chosen))
	switch {
	case *oneSeed != 0:
		from, n = *oneSeed, 1
	case *seeds == 0 && testall.Race:
		n = 10
	case *seeds == 0 && testall.Set():
		n = 300
	case *seeds == 0:
		n = 100
	}
	all := map[string]int{}
	for _, p := range chosen {
		t.Run(p.name, func(t *testing.T) {
			began, total := time.Now(), map[string]int{}
			failed := 0
			for seed := from; seed < from+uint64(n); seed++ {
				w := run(t, seed, p, *oneSeed != 0)
				for what, n := range w.counts {
					total[what] += n
				}
				if *oneSeed != 0 {
					t.Log("\n" + w.printTrace())
				}
				if len(w.violations) == 0 {
					continue
				}
				if failed++; failed == 1 && *oneSeed == 0 {
					t.Logf("the trace of seed %d:\n%s", seed, run(t, seed, p, true).printTrace())
				}
				t.Errorf("-sim.profile %s -sim.seed %d: %v%s", p.name, seed, w.violations[0], p.waits())
				if failed >= *failures {
					break
				}
			}
			t.Logf("%d histories in %s", n, time.Since(began).Round(time.Millisecond))
			for what, n := range total {
				all[what] += n
			}
			if *oneProfile != "" {
				figures(t, total)
			}
		})
	}
	t.Logf("%d histories; every loss is at the floor unless a failure says otherwise", n*len(chosen))
	figures(t, all)
}

func figures(t *testing.T, counts map[string]int) {
	t.Helper()
	for _, what := range slices.Sorted(maps.Keys(counts)) {
		if what != "" {
			t.Logf("%8d  %s", counts[what], what)
		}
	}
}

// steps is the trace, in an order of its own within one nanosecond.
func steps(w *world) []string {
	return slices.Sorted(strings.Lines(w.printTrace()))
}

// A seed that fails must fail again, step by step: without that there is no
// finding out why.
func TestReplay(t *testing.T) {
	if testall.Race {
		t.Skip("the race detector's scheduler is random")
	}
	n := 3
	if *seeds > 0 {
		n = *seeds / len(profiles)
	}
	for _, p := range profiles {
		for seed := uint64(1); seed <= uint64(n); seed++ {
			first, second := steps(run(t, seed, p, true)), steps(run(t, seed, p, true))
			for i := range min(len(first), len(second)) {
				if first[i] != second[i] {
					t.Errorf("-sim.profile %s -sim.seed %d:\n%s%s", p.name, seed, first[i], second[i])
					break
				}
			}
			require.Len(t, second, len(first), "-sim.profile %s -sim.seed %d", p.name, seed)
		}
	}
}
