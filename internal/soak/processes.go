//go:build unix

package main

import (
	"fmt"
	"slices"
	"time"
)

// What was done to processes and to the store, and when.

// span is a time in which a fault explains failures: of requests to an
// instance, or to all, and for a while longer of users who had work under way
// there, whose refresh is in doubt then.
type span struct {
	kind     kind
	from, to time.Time // to is zero while it lasts
	instance int
	users    map[*account]bool
}

const (
	everywhere = -1
	nobodys    = -2

	aftermath = 2 * time.Second // of a fault, for everybody
)

// recovery is how long it may take until a refresh that is in doubt is decided,
// with nothing to ask: four leases until another may try, and a refresh.
func (l *ledger) recovery() time.Duration { return 6 * l.lease() }

func (l *ledger) born(index, run int) *incarnation {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := &incarnation{name: fmt.Sprintf("%d.%d", index+1, run), index: index}
	l.lives[i.name] = i
	l.event("%s starts", i.name)
	return i
}

// kills enters the end of a process, which do brings about.
func (l *ledger) kills(i *incarnation, do func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	do()
	now := time.Now()
	i.killed = now
	l.event("%s is killed", i.name)
	met := map[*family]bool{}
	for _, x := range l.exchanges {
		if x.by == i && x.family != nil {
			met[x.family] = true
		}
	}
	for _, f := range l.families {
		if r := f.last; r != nil && r.by == i && r.stored == "" && r.fate != dropped && l.awake(i, r.answeredBy(now), now) < mustWrite {
			met[f] = true
		}
	}
	l.counts["refreshes that a kill may have met"] += len(met)
}

func (l *ledger) paused(i *incarnation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i.pauses = append(i.pauses, stoppage{from: time.Now()})
	l.event("%s is stopped", i.name)
}

func (l *ledger) resumed(i *incarnation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i.pauses[len(i.pauses)-1].to = time.Now()
	l.event("%s goes on", i.name)
}

// event enters something that concerns everybody. l.mu is held.
func (l *ledger) event(format string, args ...any) {
	l.events.add(time.Now(), fmt.Sprintf(format, args...))
}

// begin opens the span of a fault at an instance, or everywhere.
func (l *ledger) begin(k kind, instance int, what string) *span {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts["fault "+string(k)]++
	if what != "" {
		l.event("%s", what)
	}
	s := l.spanOf(k, instance)
	s.to = time.Time{}
	for _, a := range l.accounts {
		if l.busyAt(a, instance) {
			s.users[a] = true
		}
	}
	return s
}

func (l *ledger) end(s *span, what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.to = time.Now()
	if what != "" {
		l.event("%s", what)
	}
}

// spanOf adds a span of a moment. l.mu is held.
func (l *ledger) spanOf(k kind, instance int, users ...*account) *span {
	now := time.Now()
	if len(l.spans) > 0 && len(l.spans)%256 == 0 {
		kept := l.spans[:0]
		for _, s := range l.spans {
			if s.to.IsZero() || now.Sub(s.to) < l.recovery()+time.Minute {
				kept = append(kept, s)
			}
		}
		clear(l.spans[len(kept):])
		l.spans = kept
	}
	s := &span{kind: k, from: now, to: now, instance: instance, users: map[*account]bool{}}
	for _, a := range users {
		s.users[a] = true
	}
	l.spans = append(l.spans, s)
	return s
}

// busyAt reports whether a user has, or had a moment ago, work under way at an
// instance. Work goes on for a while when a request has been abandoned.
func (l *ledger) busyAt(a *account, instance int) bool {
	if instance == everywhere {
		for i := range a.flying {
			if l.busyAt(a, i) {
				return true
			}
		}
		return false
	}
	return a.flying[instance] > 0 || time.Since(a.left[instance]) < l.refreshTimeout
}

// explained reports whether a fault explains a failure. l.mu is held.
func (l *ledger) explained(a *account, instance int, from, to time.Time) bool {
	for _, s := range l.spans {
		for whom, margin := range map[bool]time.Duration{s.instance == everywhere || s.instance == instance: aftermath, s.users[a]: l.recovery()} {
			if whom && !to.Before(s.from) && (s.to.IsZero() || from.Before(s.to.Add(margin))) {
				return true
			}
		}
	}
	return false
}

// stopped is for how long of a time a process was stopped.
func (i *incarnation) stopped(from, to time.Time) (d time.Duration) {
	for _, p := range i.pauses {
		d += overlap(p.from, p.to, from, to)
	}
	return d
}

// awake is for how long of a time a process could write: it was not stopped, and
// the store was there. l.mu is held.
func (l *ledger) awake(i *incarnation, from, to time.Time) (d time.Duration) {
	kept := slices.Clone(i.pauses)
	for _, s := range l.spans {
		if s.instance == everywhere {
			end := s.to
			if !end.IsZero() {
				end = end.Add(aftermath)
			}
			kept = append(kept, stoppage{s.from, end})
		}
	}
	slices.SortFunc(kept, func(x, y stoppage) int { return x.from.Compare(y.from) })
	for _, k := range kept { // they may overlap
		if k.from.After(from) {
			d += max(0, min(k.from.Sub(from), to.Sub(from)))
		}
		if k.to.IsZero() {
			return d
		}
		if k.to.After(from) {
			from = k.to
		}
	}
	return d + max(0, to.Sub(from))
}

func overlap(aFrom, aTo, bFrom, bTo time.Time) time.Duration {
	if aTo.IsZero() || aTo.After(bTo) {
		aTo = bTo
	}
	if bFrom.After(aFrom) {
		aFrom = bFrom
	}
	return max(0, aTo.Sub(aFrom))
}
