package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"time"
)

// group is one kind of work and those who do it.
type group struct {
	title      string
	contenders []contender
}

// contender does the work of its group.
type contender struct {
	name string
	ours bool
	// why explains, should it be faster than mxmconnect.
	why string
	// prepare makes n pieces of work ready and returns what does the i-th. It
	// panics when the work does not come out right: a mistake is not fast.
	prepare func(n int) func(i int)
	// commands counts what a server has been asked, if there is one.
	commands func() (int, error)
}

// repeated is work that can be done any number of times.
func repeated(work func()) func(int) func(int) {
	return func(int) func(int) { return func(int) { work() } }
}

type effort struct {
	round  time.Duration
	rounds int
}

// result is what a group came to.
type result struct {
	group
	scores []score
}

type score struct {
	contender
	time     time.Duration // of the fastest round
	allocs   int
	bytes    int
	commands float64 // of a server, per piece of work; -1: there is none
}

func (r result) ours() score {
	for _, s := range r.scores {
		if s.ours {
			return s
		}
	}
	panic(r.title + ": nobody is mxmconnect")
}

// ratio is the time of s in units of mxmconnect's.
func (r result) ratio(s score) float64 { return float64(s.time) / float64(r.ours().time) }

func (g group) measure(e effort, oursOnly bool) (result, error) {
	r := result{group: g}
	sizes := make([]int, len(g.contenders))
	for i, c := range g.contenders {
		sizes[i] = c.size(e.round)
		s := score{contender: c, time: time.Hour, commands: -1}
		if c.commands != nil {
			const n = 200
			work := c.prepare(n)
			work(0) // loads a script, opens a connection
			before, err := c.commands()
			if err != nil {
				return r, err
			}
			for j := range n {
				work(j)
			}
			after, err := c.commands()
			if err != nil {
				return r, err
			}
			s.commands = float64(after-before) / n
		}
		r.scores = append(r.scores, s)
	}
	for range e.rounds {
		for i := range r.scores {
			if s := &r.scores[i]; s.ours || !oursOnly {
				s.take(sizes[i])
			}
		}
	}
	return r, nil
}

// size is how much work fills a round.
func (c contender) size(round time.Duration) int {
	for n := 1; ; n *= 4 {
		if took := timed(n, c.prepare(n)); took > round/8 {
			return max(1, int(float64(n)*float64(round)/float64(took)))
		}
	}
}

func timed(n int, work func(int)) time.Duration {
	start := time.Now()
	for i := range n {
		work(i)
	}
	return time.Since(start)
}

func (s *score) take(n int) {
	work := s.prepare(n)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	took := timed(n, work)
	runtime.ReadMemStats(&after)
	s.time = min(s.time, took/time.Duration(n))
	s.allocs = int(after.Mallocs-before.Mallocs) / n
	s.bytes = int(after.TotalAlloc-before.TotalAlloc) / n
}

func startProfile(file string) (stop func() error, err error) {
	if file == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

// must is for what only a mistake in this program can make fail.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func check(ok bool, format string, args ...any) {
	if !ok {
		panic(fmt.Sprintf(format, args...))
	}
}
