//go:build unix

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// book holds who has killed which mutant. Its file has lines of the sources'
// digest, the result and the mutant's key; what is about other sources is void.
type book struct {
	mu     sync.Mutex
	digest string
	known  map[string]string
	file   *os.File // or nil
}

func openBook(file, digest string) (*book, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	b := &book{digest: digest, known: map[string]string{}}
	for line := range strings.Lines(string(text)) {
		if part := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 3); len(part) == 3 && part[0] == digest {
			b.known[part[2]] = part[1]
		}
	}
	b.file, err = os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	return b, err
}

func (b *book) close() {
	if b.file != nil {
		b.file.Close()
	}
}

func (b *book) note(m mutant, result string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known == nil {
		b.known = map[string]string{}
	}
	b.known[m.key] = result
	if b.file == nil {
		return nil
	}
	_, err := fmt.Fprintf(b.file, "%s\t%s\t%s\n", b.digest, result, m.key)
	return err
}

// report lists the survivors of those that have run. It is an error if too many have
// survived, or if one that is called equivalent has not.
func (b *book) report(w io.Writer, chosen []mutant, equivalent map[string]string, least float64) (err error) {
	counted, killed, same := 0, 0, 0
	slices.SortFunc(chosen, func(a, b mutant) int { return a.id - b.id })
	by := map[string]int{}
	for _, m := range chosen {
		result, ran := b.known[m.key]
		_, listed := equivalent[m.key]
		switch {
		case !ran:
		case listed && result != survived:
			err = fmt.Errorf("equivalents.txt is wrong: %s is killed by %s", m, result)
			fmt.Fprintln(w, err)
		case listed:
			same++
		case result == survived:
			counted++
			fmt.Fprintln(w, "survived:", m)
		default:
			counted++
			killed++
			name, _, _ := strings.Cut(result, ":")
			by[name]++
		}
	}
	for _, s := range stages {
		fmt.Fprintf(w, "%5d killed by %s\n", by[s.name], s.name)
	}
	share := 100 * float64(killed) / float64(max(1, counted))
	fmt.Fprintf(w, "%d of %d mutants killed, %.1f %%; %d more are equivalent\n", killed, counted, share, same)
	if err == nil && share < least {
		err = fmt.Errorf("less than %.0f %% are killed", least)
	}
	return err
}
