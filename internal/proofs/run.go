package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// event is one line of `go test -json`; see `go doc test2json`.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// test is one test or, without a name, one package.
type test struct{ pkg, name string }

// run is what is known about all tests so far.
type run struct {
	out    io.Writer
	said   map[test]string // what it wrote, until it ends well
	ended  map[test]string // pass or skip; pass if it ever did
	failed bool
}

func newRun(out io.Writer) *run {
	return &run{out: out, said: map[test]string{}, ended: map[test]string{}}
}

func (r *run) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) == nil {
				r.note(e)
			} else {
				fmt.Fprintf(r.out, "%s", line) // go's own, about what does not build
			}
		}
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func (r *run) note(e event) {
	t := test{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "build-fail":
		r.failed = true
	case "output":
		r.said[t] += e.Output
	case "pass":
		r.ended[t] = "pass"
		r.quiet(t)
	case "skip":
		if r.ended[t] == "" {
			r.ended[t] = "skip"
		}
		r.quiet(t)
	case "fail":
		r.failed = true
		if t.name == "" { // of tests that a panic or the deadline has ended nothing else is heard
			for unfinished := range r.said {
				if unfinished.pkg == t.pkg && unfinished.name != "" {
					r.print(unfinished)
				}
			}
		}
		r.print(t)
	}
}

func (r *run) print(t test) {
	fmt.Fprint(r.out, r.said[t])
	delete(r.said, t)
}

// quiet forgets what t wrote, but for the line about a package.
func (r *run) quiet(t test) {
	if t.name == "" {
		for line := range strings.Lines(r.said[t]) {
			if strings.HasPrefix(line, "ok ") || strings.HasPrefix(line, "? ") {
				fmt.Fprint(r.out, line)
			}
		}
	}
	delete(r.said, t)
}

var proof = regexp.MustCompile(`\b(Test|Fuzz|Example)[A-Z_]\w*`)

// unproved returns why the tests that text names prove nothing.
func (r *run) unproved(text string) (problems []string) {
	names := proof.FindAllString(text, -1)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		passed := false
		for t, how := range r.ended {
			top, _, _ := strings.Cut(t.name, "/")
			switch {
			case top != name:
			case how == "skip":
				problems = append(problems, fmt.Sprintf("%s of %s was skipped", t.name, t.pkg))
			case t.name == name:
				passed = true
			}
		}
		if !passed {
			problems = append(problems, name+" did not pass")
		}
	}
	slices.Sort(problems)
	return problems
}
