package simulation_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/grant"
	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
	"github.com/mxmconnect/mxmconnect/core/internal/seal"
)

// process is one life of one instance.
type process struct {
	w       *world
	index   int // of the instance
	life    int
	timeout time.Duration // RefreshTimeout
	clock   *clock
	time    musixmatch.Clock
	server  *musixmatch.ServerClock
	keys    seal.Keyring
	old     bool // it does not know every member of a record
	grants  *grant.Manager

	ctx   context.Context // of its callers
	leave context.CancelFunc

	// Guarded by w.mu.
	dead       bool
	presented  time.Time // when it last presented a refresh token
	owed       time.Time // when an answer with tokens was last lost without a sign
	heard      bool      // it has had an answer of Musixmatch, and so knows the time there
	resume     time.Time // stopped until then
	stops      []stop
	steps      map[step]int
	quietTill  time.Time   // the server has said 429, and when it may be asked again
	commits    []time.Time // the last ones
	served     map[*user]*access
	servedFrom map[*user]time.Time
	refreshed  map[*user]time.Time // when it last said so
	again      int
	askedAgain time.Time
	hot        bool
}

// step is a moment of which there are many: the how manieth one it is decides
// what happens there.
type step struct {
	kind kind
	user int // or the number of a caller
}

type kind int

const (
	dial kind = iota
	send
	sent
	answer
	ask
	revoke
	find
	found
	commit
	committed
	refreshing // these are exchanges
	logging
	looking
	revoking
)

var kindNames = []string{
	"dial", "send", "sent", "answer", "look", "revoke", "find", "found", "commit", "committed",
	"refresh", "code", "look", "revoke",
}

func (k kind) String() string { return kindNames[k] }

// stop is a time in which the process did nothing.
type stop struct{ from, to time.Time }

var errCrashed = errors.New("the process has crashed")

func (p *process) String() string {
	if p == nil {
		return ""
	}
	return fmt.Sprintf("%c%d", 'A'+rune(p.index), p.life)
}

func (p *process) lease() time.Duration { return p.timeout * 3 / 2 }

// begin starts the next life of an instance.
func (w *world) begin(index int) *process {
	w.mu.Lock()
	p := &process{w: w, index: index, life: w.lives[index], steps: map[step]int{}, served: map[*user]*access{}, servedFrom: map[*user]time.Time{}, refreshed: map[*user]time.Time{}, timeout: 30 * time.Second, keys: keyring}
	w.lives[index]++
	w.configure(p)
	w.mu.Unlock()
	p.ctx, p.leave = context.WithCancel(context.Background())
	p.clock.start = time.Now().Add(-time.Second)
	p.time = musixmatch.NewClock(p.clock.now)
	p.server = musixmatch.NewServerClock(p.time)
	p.grants = grant.New(grant.Options{
		Store: &storeClient{p, w.store}, Server: link{p}, Keys: p.keys, BaseURL: "https://connect.example", ClientID: "client",
		RefreshTimeout: p.timeout, Clock: p.time, Report: p.report,
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.longest = max(w.longest, p.timeout)
	w.procs[index] = p
	w.everyone = append(w.everyone, p)
	w.log(p, "starts, life %d", p.life)
	return p
}

// configure decides in what the process differs from others. w.mu is held.
func (w *world) configure(p *process) {
	pr, d := w.profile, w.roll("configure", p.index, p.life)
	p.clock = &clock{}
	if pr.timeouts && d.chance(0.5) {
		p.timeout = 2 * time.Minute
	}
	switch {
	case pr.newKey && p.life == 0 && p.index > 0:
		p.keys = keyring[1:]
	case pr.keys && d.chance(0.5):
		p.keys = seal.Keyring{keyring[1], keyring[0]}
	}
	p.old = pr.formats && d.chance(0.5)
	if pr.clocks {
		p.clock.wrong = pick(d, 0, time.Hour, -time.Hour, -72*time.Hour, 72*time.Hour, -5*time.Minute)
		for range d.n(3) {
			if pr.suspend {
				break // the other clock stands still
			}
			after, by := d.between(0, 30*time.Minute), pick(d, time.Hour, -time.Hour, 10*time.Minute, -10*time.Minute)
			w.background.Go(func() {
				time.Sleep(after)
				p.clock.jump(by)
				w.note(p, "clock jumps", "its wall clock jumps by %s", by)
			})
		}
	}
}

// reach is a moment at which the seed may stop the process, for good or for a
// while. It returns an error if the process is no more.
func (p *process) reach(k kind, user int) error {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	p.stop(k, user)
	return p.awake(k, user)
}

// stop decides whether the process is stopped now. w.mu is held.
func (p *process) stop(k kind, user int) {
	w := p.w
	at := step{k, user}
	n := p.steps[at]
	p.steps[at]++
	if !w.faults || p.dead || w.profile.crash == 0 && w.profile.pause == 0 || time.Until(p.resume) > 0 {
		return
	}
	d := w.roll("step", int(k), p.index, p.life, user, n)
	rate := 1.0
	if k == find || k == found || user >= firstCaller {
		rate = 0.03 // most of what happens has nothing to do with a refresh
	}
	switch {
	case d.chance(w.profile.crash*rate) && w.crashes < 6:
		w.crashes++
		w.count("crash")
		w.log(p, "crashes at %s", k)
		p.crash()
	case d.chance(w.profile.pause*rate) && w.pauses < 15:
		w.pauses++
		w.count("pause")
		to := pick(d, 3*time.Second, 20*time.Second, 50*time.Second, 100*time.Second, 250*time.Second, 400*time.Second)
		to = d.between(to/2, to)
		now := time.Now()
		p.resume = now.Add(to)
		p.stops = append(p.stops, stop{now, p.resume})
		if w.profile.suspend && d.chance(0.7) {
			p.clock.suspend(now, p.resume)
			w.log(p, "is suspended for %s at %s", to, k)
		} else {
			w.log(p, "is stopped for %s at %s", to, k)
		}
	}
}

// awake blocks while the process is stopped. w.mu is held, and given up meanwhile.
func (p *process) awake(k kind, user int) error {
	for !p.dead {
		stopped := time.Until(p.resume)
		if stopped <= 0 {
			return nil
		}
		wakes := p.w.roll("wake", int(k), p.index, user, p.steps[step{k, user}]).between(0, time.Millisecond) // one after the other
		p.w.mu.Unlock()
		time.Sleep(stopped + wakes)
		p.w.mu.Lock()
	}
	return errCrashed
}

// crash ends the process; another one will take its place. w.mu is held.
func (p *process) crash() {
	p.dead = true
	p.leave()
	w := p.w
	d := w.roll("restart", p.index, p.life)
	down := pick(d, 2*time.Second, 30*time.Second, 120*time.Second, 400*time.Second)
	down = d.between(down/4, down)
	w.background.Go(func() {
		time.Sleep(down)
		w.begin(p.index)
	})
}

// deploy ends the process as a new release does, and begins the next life.
func (p *process) deploy() {
	w := p.w
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	w.note(p, "deploys", "closes")
	began, busy := time.Now(), w.refreshes(p)
	err := p.grants.Close(ctx)
	busy = busy || w.refreshes(p) || p.presented.After(began.Add(-p.timeout)) // and a login may have replaced the record since
	w.mu.Lock()
	crashed := p.dead
	if !crashed {
		// One that has announced a refresh sees the answer through, and waits longer
		// while token-metadata says that there is one. The others need not wait for
		// more than the looks under way.
		most := p.timeout
		if busy {
			most = 2 * p.timeout
		}
		if p.owed.After(began.Add(-3 * p.timeout)) {
			most = 3*p.timeout + 2*time.Second
		}
		if took := time.Since(began); err != nil || took > most {
			w.wrong("I8", "", "%s takes %s to close, busy %t: %v", p, took, busy, err)
		}
		p.dead = true
		p.leave()
	}
	w.mu.Unlock()
	if !crashed {
		w.begin(p.index)
	}
}

// refreshes reports whether an intent of p is stored.
func (w *world) refreshes(p *process) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, u := range w.users {
		if in := u.slot.now().content.Intent; in != nil && w.intents[in.ID] == p {
			return true
		}
	}
	return false
}

// mustLive ends the goroutine of a process that is no more: nothing of it has
// an effect any longer, and its deferred functions free whoever waits inside.
func (p *process) mustLive(err error) {
	if err != nil {
		runtime.Goexit()
	}
}

func (p *process) stoppedBetween(from, to time.Time) (d time.Duration) {
	for _, s := range p.stops {
		d += max(0, minTime(s.to, to).Sub(maxTime(s.from, from)))
	}
	return d
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func maxTime(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

var kinds = map[grant.Kind]string{
	grant.Refreshed: "refreshed", grant.RefreshFailed: "refresh failed", grant.Lost: "lost",
	grant.Repaired: "repaired", grant.Uncalibrated: "uncalibrated",
}

func (p *process) report(_ context.Context, r grant.Report) {
	w := p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.dead {
		return
	}
	u := w.byID[r.Sub]
	if u != nil && r.Kind == grant.Refreshed {
		p.refreshed[u] = time.Now()
	}
	if u != nil && r.Kind == grant.Lost {
		u.events++
	}
	w.count("report: " + kinds[r.Kind])
	w.log(p, "reports %s %s %v", kinds[r.Kind], r.Reason, r.Err)
	if w.profile.reentrant && u != nil && !w.closing {
		w.mu.Unlock()
		began := time.Now()
		err := p.token(context.WithValue(p.ctx, callerKey{}, firstCaller-1), u)
		w.answered(p, u, "Token of a report", began, 10*time.Second, err)
		w.mu.Lock()
		if took, a := time.Since(began), p.served[u]; took > 9*time.Second && p.heard && a != nil && a.live(time.Now()) && p.stoppedBetween(began, time.Now()) == 0 {
			w.wrong("I6", "", "a report that asks for the token of %s waits %s", u, took)
		}
	}
}

// clock is the time of one process.
type clock struct {
	start time.Time

	mu       sync.Mutex
	wrong    time.Duration // of the wall clock
	behind   time.Duration // of the monotonic clock, since it stood still
	from, to time.Time     // when it last did
}

// now implements musixmatch.Clock.
func (c *clock) now() musixmatch.Moment {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, behind := time.Now(), c.behind
	m := musixmatch.Moment{Wall: now.Add(c.wrong).UnixNano()}
	switch {
	case c.to.IsZero():
	case now.Before(c.to):
		now = c.from
	default:
		behind += c.to.Sub(c.from)
	}
	m.Elapsed = now.Sub(c.start) - behind
	return m
}

// suspend lets the monotonic clock stand still.
func (c *clock) suspend(from, to time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.behind += c.to.Sub(c.from)
	c.from, c.to = from, to
}

// jump lets the wall clock go wrong by another d.
func (c *clock) jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong += d
}
