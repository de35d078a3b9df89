package simulation_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
)

// process is one life of one instance.
type process struct {
	w     *world
	index int // of the instance
	life  int
	auth  *core.Auth

	ctx   context.Context // of its callers
	leave context.CancelFunc

	// Guarded by w.mu.
	dead      bool
	presented time.Time // when it last presented a refresh token
	heard     bool      // it has had an answer of Musixmatch, and so knows the time there
	resume    time.Time // stopped until then
	stops     []stop
	steps     map[stepKey]int
}

type stepKey struct {
	kind string
	user int
}

// stop is a time in which the process did nothing.
type stop struct{ from, to time.Time }

var errCrashed = errors.New("the process has crashed")

// start begins the next life of an instance.
func (w *world) begin(index int) *process {
	w.mu.Lock()
	p := &process{w: w, index: index, life: w.lives[index], steps: map[stepKey]int{}}
	w.lives[index]++
	w.mu.Unlock()
	p.ctx, p.leave = context.WithCancel(context.Background())
	cfg := w.srv.Config(appURL)
	cfg.Grants = &storeClient{p, w.store}
	cfg.Keys = [][]byte{sealingKey}
	cfg.HTTPClient = &http.Client{Transport: &http.Transport{DialContext: p.dial, IdleConnTimeout: time.Minute}}
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.OnEvent = p.event
	auth, err := core.New(cfg)
	if err != nil {
		panic(err)
	}
	p.auth = auth
	w.mu.Lock()
	defer w.mu.Unlock()
	w.procs[index] = p
	w.everyone = append(w.everyone, p)
	w.log(p, "starts, life %d", p.life)
	return p
}

// step is a moment at which the seed may stop the process, for good or for a
// while. It returns an error if the process is no more.
func (p *process) step(kind string, user int) error {
	w := p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	key := stepKey{kind, user}
	n := p.steps[key]
	p.steps[key]++
	wakes := w.roll("wake "+kind, p.index, user, n).between(0, time.Millisecond) // one after the other
	if p.wait(wakes) != nil {
		return errCrashed
	}
	if !w.faults {
		return nil
	}
	d := w.roll("step "+kind, p.index, p.life, user, n)
	rate := 1.0
	if kind == "find" || kind == "found" || user >= firstCaller {
		rate = 0.03 // most of what happens has nothing to do with a refresh
	}
	switch {
	case d.chance(w.profile.crash*rate) && w.crashes < 6:
		w.crashes++
		w.count("crash")
		w.log(p, "crashes at %s", kind)
		p.crash()
		return errCrashed
	case d.chance(w.profile.pause*rate) && w.pauses < 15:
		w.pauses++
		w.count("pause")
		to := pick(d, 3*time.Second, 20*time.Second, 50*time.Second, 100*time.Second, 250*time.Second, 400*time.Second)
		to = d.between(to/2, to)
		now := time.Now()
		p.resume = now.Add(to)
		p.stops = append(p.stops, stop{now, p.resume})
		w.log(p, "is stopped for %s at %s", to, kind)
		if p.wait(wakes) != nil {
			return errCrashed
		}
		w.log(p, "goes on at %s", kind)
	}
	return nil
}

// wait blocks while the process is stopped. w.mu is held, and given up meanwhile.
func (p *process) wait(wakes time.Duration) error {
	for !p.dead {
		stopped := time.Until(p.resume)
		if stopped <= 0 {
			return nil
		}
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
	err := p.auth.Close(ctx)
	busy = busy || w.refreshes(p) || p.presented.After(began)
	w.mu.Lock()
	crashed := p.dead
	if !crashed {
		// One that has announced a refresh sees the answer through, the others need
		// not wait for more than the looks under way.
		if took := time.Since(began); err != nil || took > 2*refreshTimeout || !busy && took > refreshTimeout {
			w.wrong("I8", "", "%s takes %s to close, busy %t: %v", p.name(), took, busy, err)
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

func (p *process) event(_ context.Context, e core.Event) {
	w := p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.dead {
		return
	}
	switch e.Kind {
	case core.EventLogin:
		if w.loggingIn != nil { // the first login of a user, alone: here we learn the hash
			w.byHash[e.User] = w.loggingIn
		}
	case core.EventReconnect:
		if u := w.byHash[e.User]; u != nil {
			u.events++
		}
	}
	w.count("event " + string(e.Kind))
	w.log(p, "event %s %s %v", e.Kind, e.Reason, e.Err)
}
