//go:build unix

package main

import (
	"fmt"
	"runtime"
	"time"
)

// health compares what processes take in the end with what they took before.
type health struct {
	fleet  *fleet
	factor float64
	rows   []*reading
}

// reading is what one process took: with nothing to do, after the first tenth,
// and in the end. A process that was started later has not all of them.
type reading struct {
	name            string
	idle, warm, end usageOf
}

const (
	// What pools and timers may keep, on top of what there was before anybody came.
	spareGoroutines = 10
	spareHeap       = 8 << 20
)

func (h *health) row(name string) *reading {
	for _, r := range h.rows {
		if r.name == name {
			return r
		}
	}
	h.rows = append(h.rows, &reading{name: name})
	return h.rows[len(h.rows)-1]
}

// read asks every process of the fleet.
func (h *health) read(to func(*reading) *usageOf) {
	for _, in := range h.fleet.instances {
		if !in.busy.TryLock() {
			continue // a fault is at it
		}
		name := in.life.name
		u, err := h.fleet.usage(in)
		in.busy.Unlock()
		if err == nil {
			*to(h.row(name)) = u
		}
	}
}

func (h *health) readIdle() { h.read(func(r *reading) *usageOf { return &r.idle }) }

func (h *health) readWarm() {
	h.read(func(r *reading) *usageOf { return &r.warm })
	h.row(parent).warm = usageHere()
}

// readEnd waits for a while until goroutines have ended.
func (h *health) readEnd() {
	h.untilGood(func() { h.read(func(r *reading) *usageOf { return &r.end }) })
}

// readParent is for this process: at the very beginning and at the very end.
func (h *health) readParent() {
	r := h.row(parent)
	if r.idle.Goroutines == 0 {
		r.idle = usageHere()
		return
	}
	h.untilGood(func() { r.end = usageHere() })
}

func (h *health) untilGood(read func()) {
	for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(500 * time.Millisecond) {
		if read(); len(h.problems()) == 0 || time.Now().After(deadline) {
			return
		}
	}
}

const parent = "soak" // the name of this process

// problems is what has grown.
func (h *health) problems() (all []string) {
	idle := 0
	for _, r := range h.rows {
		if r.name != parent {
			idle = max(idle, r.idle.Goroutines)
		}
	}
	for _, r := range h.rows {
		allowed := r.idle.Goroutines
		if allowed == 0 {
			allowed = idle // it was started later than the others
		}
		if r.end.Goroutines > allowed+spareGoroutines {
			all = append(all, fmt.Sprintf("%s has %d goroutines with nothing to do, and had %d", r.name, r.end.Goroutines, allowed))
		}
		if heap := float64(r.warm.Heap)*h.factor + spareHeap; r.warm.Heap > 0 && float64(r.end.Heap) > heap {
			all = append(all, fmt.Sprintf("the heap of %s is %s, and was %s after the first tenth", r.name, megabytes(r.end.Heap), megabytes(r.warm.Heap)))
		}
	}
	return all
}

func megabytes(n uint64) string { return fmt.Sprintf("%.1f MB", float64(n)/(1<<20)) }

// now is a line of progress.
func (h *health) now() (line string) {
	for _, in := range h.fleet.instances {
		if !in.busy.TryLock() {
			line += fmt.Sprintf("  %d: -", in.index+1)
			continue
		}
		u, err := h.fleet.usage(in)
		name := in.life.name
		in.busy.Unlock()
		if err != nil {
			line += fmt.Sprintf("  %s: ?", name)
		} else {
			line += fmt.Sprintf("  %s: %d g %s", name, u.Goroutines, megabytes(u.Heap))
		}
	}
	return line + fmt.Sprintf("  soak: %d g", runtime.NumGoroutine())
}
