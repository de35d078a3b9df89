//go:build unix

package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// report is the ledger when all is over.
type report struct {
	o       options
	took    time.Duration
	counts  map[string]int
	losses  []loss
	outside []string
	wrongs  []string
	health  *health
	dead    []string // users who are served, and whose login is dead at Musixmatch
}

func newReport(o options, l *ledger, m *musixmatch, h *health, took time.Duration) *report {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &report{o: o, took: took, counts: maps.Clone(l.counts), losses: l.losses, outside: l.outside, wrongs: l.wrongs, health: h}
	for _, a := range l.accounts {
		alive := slices.ContainsFunc(m.Live(a.id), func(f mxmtest.Family) bool { return a.used != nil && f.ID == a.used.id })
		if !alive {
			r.dead = append(r.dead, a.id)
		}
	}
	slices.Sort(r.dead)
	return r
}

func (r *report) lost(floor bool) (n int) {
	for _, s := range r.losses {
		if s.floor == floor {
			n++
		}
	}
	return n
}

// because is how many losses have a cause.
func (r *report) because(cause string) (n int) {
	for _, s := range r.losses {
		if s.cause == cause {
			n++
		}
	}
	return n
}

// verdicts is everything for which the exit status is 1.
func (r *report) verdicts() (all []string) {
	if n := r.lost(false); n > 0 {
		all = append(all, fmt.Sprintf("%d losses above the floor", n))
	}
	if n := r.counts["spent: "+nothing]; n > 0 { // also of users who have signed in again without noticing
		all = append(all, fmt.Sprintf("%d spent tokens presented, and nothing explains it", n))
	}
	if len(r.dead) > 0 {
		all = append(all, fmt.Sprintf("%d users whose login is dead at Musixmatch in the end: %s", len(r.dead), strings.Join(r.dead[:min(3, len(r.dead))], ", ")))
	}
	if n := r.counts["refresh requests"]; r.o.refreshes > 0 && (n != r.counts["rotations"] || n < r.o.refreshes || len(r.losses) > 0) {
		all = append(all, fmt.Sprintf("%d refreshes were wanted, with one POST each and nobody lost", r.o.refreshes))
	}
	all = append(all, r.wrongs...)
	return append(all, r.health.problems()...)
}

const maxStories = 10

// sum adds up the rows whose names begin with prefix.
func (r *report) sum(prefix string) (n int) {
	for what, c := range r.counts {
		if strings.HasPrefix(what, prefix) {
			n += c
		}
	}
	return n
}

func (r *report) print(out io.Writer) {
	told := 0
	for _, s := range r.losses {
		if !s.floor && told < maxStories {
			told++
			fmt.Fprintf(out, "\nABOVE THE FLOOR: %s %s, seed %d: %s\n%s", s.userID, s.what, r.o.seed, s.cause, s.timeline)
		}
	}
	for _, o := range r.outside {
		fmt.Fprintf(out, "\nfailed outside of every fault's time: %s", o)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(what string, n int) { fmt.Fprintf(w, "  %s\t%8d\n", what, n) }
	rows := func(prefix, show string) {
		for _, what := range slices.Sorted(maps.Keys(r.counts)) {
			if rest, ok := strings.CutPrefix(what, prefix); ok {
				row(show+rest, r.counts[what])
			}
		}
	}
	head := func(format string, args ...any) { fmt.Fprintf(w, "\n"+format+"\n", args...) }

	head("%d users on %d instances and %s, %s, seed %d", r.o.users, r.o.instances, r.o.store, r.took.Round(time.Second), r.o.seed)
	head("faults")
	rows("fault ", "")
	head("refreshes, by Musixmatch's books")
	row("requests", r.counts["refresh requests"])
	row("  carried out: a token was spent", r.counts["rotations"])
	row("  not carried out, by a fault", r.counts["not carried out"])
	rows("refused: ", "  refused: ")
	fmt.Fprintf(w, "  requests for each that was carried out\t%8.4f\n", float64(r.counts["refresh requests"])/float64(max(1, r.counts["rotations"])))
	row("answers sent", r.counts["answers sent"])
	row("answers lost by a fault", r.counts["answers lost by a fault"])
	row("answers for which nobody was there", r.counts["answers for which nobody was there"])
	row("refreshes that a kill may have met", r.counts["refreshes that a kill may have met"])
	row("spent tokens presented", r.sum("spent: "))
	rows("spent: ", "  after ")
	head("answers that came after 1 to 3 times -refresh-timeout")
	row("answers", r.counts["late answers"])
	row("  token-metadata could tell of", r.counts["late answers that token-metadata could tell of"])
	row("  read: the tokens were used", r.counts["late answers read"])
	row("  lost though it could", r.because(lateSeen))
	row("  lost when it was blind", r.because(lateBlind))
	head("requests of users")
	row("requests", r.counts["requests"])
	rows("answer ", "  ")
	row("failed in a fault's time", r.counts["failed in a fault's time"])
	row("failed outside of every fault's time", r.counts["failed outside of every fault's time"])
	row("calls of the API", r.counts["API calls"])
	row("sign-ins", r.counts["sign-ins"])
	row("sign-outs, all final", r.counts["sign-outs"])
	row("sessions that ended because the user was away", r.counts["sessions that ended because the user was away"])
	row("told to connect again, and connected after all", r.counts["told to connect again, and connected after all"])
	row("served in the end", r.counts["users served in the end"])
	head("losses")
	row("at the floor", r.lost(true))
	for _, cause := range []string{answerLost, answerLate, lateBlind, killedEarly, pausedBlind, pausedPost, cutOffBlind} {
		row("  "+cause, r.because(cause))
	}
	row("ABOVE THE FLOOR", r.lost(false))
	head("processes")
	fmt.Fprintf(w, "  \tidle\twarm\tend\n")
	for _, p := range r.health.rows {
		if p.end.Goroutines == 0 {
			continue // it did not live to see the end
		}
		fmt.Fprintf(w, "  %s", p.name)
		for _, u := range []usageOf{p.idle, p.warm, p.end} {
			if u.Goroutines == 0 {
				fmt.Fprintf(w, "\t-")
			} else {
				fmt.Fprintf(w, "\t%d goroutines, %s", u.Goroutines, megabytes(u.Heap))
			}
		}
		fmt.Fprintln(w)
	}
	w.Flush()
	fmt.Fprintln(out)
	if v := r.verdicts(); len(v) > 0 {
		fmt.Fprintln(out, "NOT GOOD:\n  "+strings.Join(v, "\n  "))
		return
	}
	fmt.Fprintln(out, "Good: nothing was lost above the floor, and nothing grew.")
}

// progress is a short form of it.
func (l *ledger) progress() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	floor, above := 0, 0
	for _, s := range l.losses {
		if s.floor {
			floor++
		} else {
			above++
		}
	}
	return fmt.Sprintf("%d requests, %d ok, %d refreshes, lost %d at the floor, %d above, wrong %d;",
		l.counts["requests"], l.counts["answer 2xx"]+l.counts["answer 3xx"], l.counts["rotations"], floor, above, l.counts["wrong"])
}
