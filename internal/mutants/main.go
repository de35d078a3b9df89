//go:build unix

// Command mutants breaks package core/internal/grant in every small way that it
// knows, one at a time, and looks whether the tests notice.
//
//	go run ./internal/mutants                        all mutants; goes on where it was interrupted
//	go run ./internal/mutants -again                 those that have survived, once more
//	go run ./internal/mutants -sample 50 -seed 4711  some of them
//	go run ./internal/mutants -only post.go -list    what there is in post.go
//
// All mutants are in one build: each place that can be changed asks which mutant
// this process is, and the environment says so. A mutant is killed by the first
// of the package's own tests, its simulation and core's tests that fails, takes
// too long or takes too much memory. A mutant that nobody can tell from the
// original is listed in equivalents.txt, with the reason, and is not counted.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const target = "core/internal/grant"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var (
		sample  = flag.Int("sample", 0, "run so many only, chosen by the seed, and remember nothing")
		seed    = flag.Uint64("seed", 0, "of the sample; 0: the time")
		results = flag.String("results", ".proof/mutants.tsv", "where results are kept, so that a run can be interrupted")
		again   = flag.Bool("again", false, "run those that have survived once more")
		only    = flag.String("only", "", "run the mutants whose description contains this only")
		list    = flag.Bool("list", false, "list the mutants and run none")
		workers = flag.Int("workers", 2, "how many run at a time")
		least   = flag.Float64("least", 95, "fail if a smaller percentage is killed")
	)
	flag.Parse()
	p, err := load("./" + target)
	if err != nil {
		return err
	}
	equivalent, err := readEquivalents("internal/mutants/equivalents.txt", p.mutants)
	if err != nil {
		return err
	}
	chosen := make([]mutant, 0, len(p.mutants))
	for _, m := range p.mutants {
		if strings.Contains(m.String(), *only) {
			chosen = append(chosen, m)
		}
	}
	if *list {
		for _, m := range chosen {
			fmt.Println(m)
		}
		return nil
	}
	s := cmp.Or(*seed, uint64(time.Now().UnixNano()))
	rand.New(rand.NewPCG(s, 0)).Shuffle(len(chosen), func(i, j int) { chosen[i], chosen[j] = chosen[j], chosen[i] })
	kept := &book{}
	if *sample > 0 {
		fmt.Printf("-sample %d -seed %d, of %d mutants\n", *sample, s, len(chosen))
		chosen = chosen[:min(*sample, len(chosen))]
	} else if kept, err = openBook(*results, p.digest); err != nil {
		return err
	}
	defer kept.close()

	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	stages, err := build(ctx, p, dir)
	if err != nil {
		return err
	}
	var left []mutant
	for _, m := range chosen {
		if r, known := kept.known[m.key]; !known || *again && r == survived {
			left = append(left, m)
		}
	}
	fmt.Printf("%d mutants, %d of them to run\n", len(chosen), len(left))
	return errors.Join(runAll(ctx, stages, left, *workers, kept), kept.report(os.Stdout, chosen, equivalent, *least))
}

func runAll(ctx context.Context, stages []stage, left []mutant, workers int, kept *book) error {
	began := time.Now()
	next := make(chan mutant)
	errs := make(chan error, workers)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for m := range next {
				result := m.run(ctx, stages)
				if ctx.Err() != nil {
					return // it was not the mutant that ended
				}
				if err := kept.note(m, result); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	var err error
	for i, m := range left {
		select {
		case next <- m:
		case err = <-errs:
		case <-ctx.Done():
			err = errors.New("interrupted")
		}
		if err != nil {
			break
		}
		if i%100 == 99 {
			fmt.Printf("%d of %d, %s\n", i+1, len(left), time.Since(began).Round(time.Second))
		}
	}
	close(next)
	group.Wait()
	return cmp.Or(err, ctx.Err())
}

// readEquivalents reads lines of a mutant's key, a tab and the reason. A line
// that fits no mutant is an error: the code has moved on.
func readEquivalents(file string, mutants []mutant) (map[string]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, m := range mutants {
		there[m.key] = true
	}
	why := map[string]string{}
	for n, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, reason, ok := strings.Cut(line, "\t")
		switch {
		case !ok || strings.TrimSpace(reason) == "":
			err = errors.Join(err, fmt.Errorf("%s:%d: no reason after a tab", filepath.Base(file), n+1))
		case !there[key]:
			err = errors.Join(err, fmt.Errorf("%s:%d: there is no such mutant (any more): %s", filepath.Base(file), n+1, key))
		}
		why[key] = reason
	}
	return why, err
}
