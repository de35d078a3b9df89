package simulation_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"
)

// world is one history.
type world struct {
	seed    uint64
	profile profile
	start   time.Time
	until   time.Time // faults happen until then
	policy            // of the server
	blind   bool      // the oracle can prove nothing at this server
	tracing bool

	longest    time.Duration  // the longest RefreshTimeout of an instance
	background sync.WaitGroup // what does not end with the process that began it

	mu       sync.Mutex
	faults   bool
	store    *store
	procs    []*process // the present life of each instance
	everyone []*process
	lives    []int
	users    []*user
	byID     map[string]*user

	families    int // so far
	accesses    int
	coins       map[string]*coin    // by refresh token
	access      map[string]*access  // by access token
	intents     map[string]*process // who wrote them first
	lied        time.Time
	lies        map[look]bool // the last answer was one
	closing     bool
	presentedAt time.Time // when anybody last presented a refresh token

	crashes, pauses, losses int
	windows                 []window
	busy                    []window // in which the server answers 429

	counts     map[string]int
	violations []violation
	trace      []entry
}

// window is a time in which the store does not work.
type window struct {
	from, to time.Time
	index    int // for this instance only; -1: for all
	readOnly bool
}

// entry is one line of a trace, put into words when it is printed.
type entry struct {
	at     time.Duration
	who    *process
	format string
	args   []any
}

func (e entry) String() string {
	return fmt.Sprintf("%12.6fs  %-5s %s", e.at.Seconds(), e.who, fmt.Sprintf(e.format, e.args...))
}

// log adds a line to the trace. The arguments must not change any more. w.mu is held.
func (w *world) log(p *process, format string, args ...any) {
	if w.tracing {
		w.trace = append(w.trace, entry{time.Since(w.start), p, format, args})
	}
}

// count adds to the figures. w.mu is held.
func (w *world) count(what string) { w.counts[what]++ }

// note counts and logs.
func (w *world) note(p *process, what, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count(what)
	w.log(p, format, args...)
}

func (w *world) faulty() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.faults
}

// down reports whether p cannot reach the store, or where readOnly is asked
// for, whether nobody can write it. w.mu is held.
func (w *world) down(p *process, readOnly bool) bool {
	if !w.faults {
		return false
	}
	now := time.Now()
	for _, o := range w.windows {
		if o.readOnly == readOnly && !now.Before(o.from) && now.Before(o.to) && (o.index < 0 || o.index == p.index) {
			w.count("store: met an outage")
			return true
		}
	}
	return false
}

// history runs one seed, inside a bubble.
func history(seed uint64, pr profile, tracing bool) *world {
	goroutines := runtime.NumGoroutine()
	w := &world{
		seed: seed, profile: pr, tracing: tracing, start: time.Now(),
		byID: map[string]*user{}, coins: map[string]*coin{}, access: map[string]*access{},
		lies: map[look]bool{}, intents: map[string]*process{}, counts: map[string]int{},
	}
	w.store = &store{w, map[string]*slot{}}
	d := w.roll("world")
	time.Sleep(d.between(0, time.Second))
	w.setUpServer(d)
	instances, users := 1+d.n(4), 1+d.n(2)
	if d.chance(0.2) {
		instances = 1
	}
	w.procs, w.lives = make([]*process, instances), make([]int, instances)
	for i := range instances {
		w.begin(i)
	}
	for i := range users {
		u := &user{index: i, id: fmt.Sprintf("mxm:%021d", 1+i), grants: map[string]*grantBook{}}
		w.users = append(w.users, u)
		w.byID[u.id] = u
		if err := w.procs[0].login(w.procs[0].ctx, u); err != nil {
			panic(fmt.Sprintf("seed %d: the first login: %v", seed, err))
		}
	}
	w.setLags(w.roll("lags"))

	span := min(max(5*w.life, 10*time.Minute), 45*time.Minute)
	if pr.down {
		span = 10 * time.Hour
	}
	w.mu.Lock()
	w.until = time.Now().Add(span)
	w.faults = !pr.quiet
	w.planOutages(d, span)
	w.mu.Unlock()
	var drivers sync.WaitGroup
	for _, u := range w.users {
		drivers.Go(func() { w.drive(u) })
	}
	time.Sleep(span)
	w.mu.Lock()
	w.faults = false
	w.log(nil, "the faults end")
	w.mu.Unlock()
	drivers.Wait()
	w.background.Wait() // late writes and requests land, the last crash is over
	w.complete()
	w.settle()
	w.judge()
	w.close(goroutines)
	return w
}

// planOutages decides when the store is down. w.mu is held.
func (w *world) planOutages(d *dice, span time.Duration) {
	if w.profile.throttle {
		for range 3 {
			from := time.Now().Add(d.between(0, span))
			w.busy = append(w.busy, window{from: from, to: from.Add(d.between(10*time.Second, 90*time.Second))})
		}
	}
	if !w.profile.outages && !w.profile.conflicts && !w.profile.hangs {
		return
	}
	for range d.n(4) {
		from := time.Now().Add(d.between(0, span))
		o := window{from: from, to: from.Add(pick(d, 3*time.Second, 40*time.Second, 4*time.Minute)), index: -1}
		switch n := d.n(3); {
		case w.profile.conflicts:
			o.readOnly = true
		case w.profile.hangs:
		case n == 0:
			o.readOnly = true
		case n == 1:
			o.index = d.n(len(w.procs))
		}
		w.windows = append(w.windows, o)
		w.log(nil, "plan: the store fails from %s to %s, instance %d, read-only %t", o.from.Sub(w.start), o.to.Sub(w.start), o.index, o.readOnly)
	}
}

func (w *world) printTrace() string {
	var b strings.Builder
	for _, e := range w.trace {
		fmt.Fprintln(&b, e)
	}
	return b.String()
}

// endsWithin is how long after the last fault every grant must have come to an
// end. An intent without a lease, of an older release, is left alone for 16 leases.
// A token that nothing can be found out about is tried ever more rarely, up to an
// hour apart. w.mu is held.
func (w *world) endsWithin() time.Duration {
	within, lease := 25*time.Minute, w.longest*3/2
	if w.profile.formats {
		within += 16 * lease
	}
	pause := time.Duration(0)
	for _, u := range w.users {
		if in := u.slot.now().content.Intent; in != nil {
			pause = max(pause, min(lease<<min(in.Attempt-1, 10), time.Hour))
		}
	}
	return within + pause
}
