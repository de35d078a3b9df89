package simulation_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

const (
	refreshTimeout = 30 * time.Second
	endsWithin     = 25 * time.Minute // after the last fault
)

// world is one history.
type world struct {
	seed    uint64
	profile profile
	start   time.Time
	until   time.Time // faults happen until then

	srv         *mxmtest.Server
	life        time.Duration // of an access token
	lease       time.Duration
	skewed      bool // its clock is not ours
	blind       bool // the oracle can prove nothing at this server
	revokes     bool // the server revokes a family on a replay
	noRotation  bool
	killNone    bool
	killUser    bool // a refresh kills the access tokens of all logins of a user
	singleLogin bool

	background sync.WaitGroup // what does not end with the process that began it

	mu        sync.Mutex
	faults    bool
	store     *store
	procs     []*process // the present life of each instance
	everyone  []*process
	lives     []int
	users     []*user
	byID      map[string]*user
	byHash    map[string]*user
	loggingIn *user

	families  map[int]*family
	coins     map[string]*coin    // by refresh token
	access    map[string]*family  // by access token
	intents   map[string]*process // who wrote them first
	lied      time.Time
	lies      map[look]bool // the last answer was one
	inHand    []*exchange
	closing   bool
	exchanges int

	crashes, pauses, losses int
	windows                 []window

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

type entry struct {
	at     time.Duration
	who    string
	format string
	args   []any
}

func (e entry) String() string {
	return fmt.Sprintf("%12.6fs  %-5s %s", e.at.Seconds(), e.who, fmt.Sprintf(e.format, e.args...))
}

func (p *process) name() string {
	if p == nil {
		return ""
	}
	return fmt.Sprintf("%c%d", 'A'+rune(p.index), p.life)
}

// log adds a line to the trace. w.mu is held.
func (w *world) log(p *process, format string, args ...any) {
	w.trace = append(w.trace, entry{time.Since(w.start), p.name(), format, args})
}

// count adds to the figures. w.mu is held.
func (w *world) count(what string) { w.counts[what]++ }

// note counts and logs. The arguments must be ready before it is called.
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

// outage reports whether p cannot reach the store. w.mu is held.
func (w *world) outage(p *process) bool { return w.faults && w.inWindow(p, false) }

func (w *world) readOnly() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.faults && w.inWindow(nil, true)
}

func (w *world) inWindow(p *process, readOnly bool) bool {
	now := time.Now()
	for _, o := range w.windows {
		if o.readOnly == readOnly && !now.Before(o.from) && now.Before(o.to) && (o.index < 0 || p != nil && o.index == p.index) {
			w.count("store: met an outage")
			return true
		}
	}
	return false
}

// history runs one seed, inside a bubble.
func history(seed uint64, pr profile) *world {
	goroutines := runtime.NumGoroutine()
	w := &world{
		seed: seed, profile: pr, start: time.Now(), lease: refreshTimeout * 3 / 2,
		byID: map[string]*user{}, byHash: map[string]*user{},
		families: map[int]*family{}, coins: map[string]*coin{}, access: map[string]*family{}, lies: map[look]bool{}, intents: map[string]*process{}, counts: map[string]int{},
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
		w.loggingIn = u
		if err := w.procs[0].login(context.Background(), u); err != nil {
			panic(fmt.Sprintf("seed %d: the first login: %v", seed, err))
		}
	}
	w.loggingIn = nil
	w.srv.Configure(w.lags)

	span := min(max(5*w.life, 10*time.Minute), 45*time.Minute)
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
	w.settle()
	w.judge()
	w.close(goroutines)
	return w
}

func (w *world) setUpServer(d *dice) {
	w.srv = mxmtest.NewUnstarted(musixmatchURL)
	w.life = pick(d, 45*time.Second, 90*time.Second, 225*time.Second, 300*time.Second, 450*time.Second, 600*time.Second, 600*time.Second, 900*time.Second)
	settings := []string{w.life.String()}
	w.srv.Configure(func(s *mxmtest.Settings) {
		s.AccessLifetime = w.life
		switch d.n(4) {
		case 0:
			s.Reuse = mxmtest.Plain
			settings = append(settings, "plain")
		case 1:
			s.Grace = pick(d, 30*time.Second, 2*time.Minute, 10*time.Minute)
			settings = append(settings, "grace "+s.Grace.String())
			fallthrough
		default:
			w.revokes = true
			settings = append(settings, "revokes families")
		}
		if w.profile.grace {
			s.Grace = 10 * time.Minute
		}
		s.LoserInvalidRequest = d.chance(0.3)
		if d.chance(0.15) || w.profile.killUser {
			s.Kill = mxmtest.PerUser
			w.killUser = true
			settings = append(settings, "kills per user")
		} else if d.chance(0.06) {
			s.Kill = mxmtest.KillNone
			w.blind, w.killNone = true, true
			settings = append(settings, "kills none")
		}
		if d.chance(0.06) {
			s.NoRotation = true
			w.blind, w.noRotation = true, true
			settings = append(settings, "does not rotate")
		}
		if d.chance(0.06) {
			s.NoDate = true
			w.blind = true
			settings = append(settings, "sends no Date")
		}
		if d.chance(0.4) && w.profile.clock {
			w.skewed = true
			s.DateSkew = pick(d, -time.Hour, time.Hour, -7*time.Minute, 100*24*time.Hour)
			settings = append(settings, "skew "+s.DateSkew.String())
		}
		s.SingleLogin = d.chance(0.3)
		w.singleLogin = s.SingleLogin
		s.Revocation = d.chance(0.3)
	})
	w.srv.Fail(mxmtest.Token, w.observe, mxmtest.Always())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log(nil, "server: %s", strings.Join(settings, ", "))
}

// lags makes token-metadata late. It begins after the first logins, which
// would fail.
func (w *world) lags(s *mxmtest.Settings) {
	d := w.roll("lags")
	if w.profile.quiet {
		return
	}
	if d.chance(0.2) {
		s.DeathLag = d.between(0, 10*time.Second)
	}
	if d.chance(0.1) {
		s.BirthLag = d.between(0, 3*time.Second)
	}
	w.note(nil, "", "token-metadata lags: birth %s, death %s", s.BirthLag, s.DeathLag)
}

// planOutages decides when the store is down. w.mu is held.
func (w *world) planOutages(d *dice, span time.Duration) {
	if !w.profile.outages {
		return
	}
	for range d.n(4) {
		from := time.Now().Add(d.between(0, span))
		o := window{from: from, to: from.Add(pick(d, 3*time.Second, 40*time.Second, 4*time.Minute)), index: -1}
		switch d.n(3) {
		case 0:
			o.readOnly = true
		case 1:
			o.index = d.n(len(w.procs))
		}
		w.windows = append(w.windows, o)
		w.log(nil, "plan: the store fails from %s to %s, instance %d, read-only %t", o.from.Sub(w.start), o.to.Sub(w.start), o.index, o.readOnly)
	}
}
