package simulation_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
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

// drive is what one user and the jobs for that user do.
func (w *world) drive(u *user) {
	var calls sync.WaitGroup
	defer calls.Wait()
	for n := 0; ; n++ {
		d := w.roll("drive", u.index, n)
		time.Sleep(d.between(100*time.Millisecond, pick(d, 2*time.Second, 30*time.Second, 60*time.Second)))
		w.mu.Lock()
		if time.Until(w.until) <= 0 {
			w.mu.Unlock()
			return
		}
		procs := append([]*process(nil), w.procs...)
		w.mu.Unlock()
		if w.profile.deploys && d.chance(0.03) {
			p := pick(d, procs...)
			calls.Go(p.deploy)
			continue
		}
		if w.profile.churn && d.chance(0.04) {
			p := pick(d, procs...)
			calls.Go(func() { w.churn(p, u, d) })
			continue
		}
		crowd := 1
		if d.chance(0.3) {
			crowd = 2 + d.n(4)
		}
		for i := range crowd {
			c := w.roll("call", u.index, n, i)
			p := pick(c, procs...)
			calls.Go(func() {
				time.Sleep(c.between(0, 50*time.Millisecond))
				w.call(p, u, firstCaller+(u.index*10_000+n)*10+i, c)
			})
		}
	}
}

// churn logs in again or disconnects.
func (w *world) churn(p *process, u *user, d *dice) {
	ctx, cancel := context.WithTimeout(p.ctx, 20*time.Second)
	defer cancel()
	began := time.Now()
	if d.chance(0.3) {
		w.note(p, "disconnects", "%s disconnects", u.name())
		err := p.auth.Disconnect(ctx, u.id)
		w.mu.Lock()
		defer w.mu.Unlock()
		if !p.dead && err == nil {
			w.log(p, "%s has disconnected", u.name())
			u.disconnected = began
		}
		return
	}
	w.note(p, "logins", "%s logs in again", u.name())
	w.mu.Lock()
	u.logins++
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		u.logins--
		u.login = time.Now()
	}()
	var err error
	if d.chance(0.3) {
		issued := w.srv.Issue(u.id)
		w.mu.Lock()
		w.newCoin(w.newFamily(issued.ID, u), issued.RefreshToken, issued.AccessToken, time.Now())
		w.log(p, "imports %s", w.name(issued.RefreshToken))
		w.mu.Unlock()
		_, err = p.auth.Import(ctx, issued.RefreshToken)
	} else {
		err = p.login(ctx, u)
	}
	w.note(p, "", "the login of %s ends: %v", u.name(), err)
}

// login is a whole login through the routes, with the browser's part.
func (p *process) login(ctx context.Context, u *user) error {
	serve := func(suffix string, r *http.Request) (*http.Response, error) {
		for _, route := range p.auth.Routes() {
			if strings.HasSuffix(route.Path, suffix) {
				rec := httptest.NewRecorder()
				err := route.Serve(rec, r.WithContext(ctx))
				return rec.Result(), err
			}
		}
		return nil, errors.New("no such route")
	}
	start, err := serve("/login", httptest.NewRequest("GET", appURL+"/auth/musixmatch/login", nil))
	if err != nil {
		return err
	}
	p.w.srv.SignInAs(u.id)
	page := httptest.NewRecorder()
	p.w.srv.ServeHTTP(page, httptest.NewRequest("GET", start.Header.Get("Location"), nil))
	callback := httptest.NewRequest("GET", page.Header().Get("Location"), nil)
	for _, c := range start.Cookies() {
		callback.AddCookie(c)
	}
	_, err = serve("/callback", callback)
	return err
}

// call is one call of an application for a user, and a look at its result.
func (w *world) call(p *process, u *user, number int, d *dice) {
	ctx, cancel := context.WithCancel(context.WithValue(p.ctx, callerKey{}, number))
	defer cancel()
	patience := 10 * time.Second
	limit := func(t time.Duration) {
		ctx, cancel = context.WithTimeout(ctx, t)
		patience = t
	}
	began := time.Now()
	var err error
	kind := ""
	switch d.n(10) {
	case 0:
		kind = "Verify"
		limit(40 * time.Second)
		err = p.auth.Verify(ctx, u.id)
	case 1, 2, 3:
		kind = "Client"
		limit(d.between(5*time.Second, 40*time.Second))
		err = w.whoami(ctx, p, u)
	default:
		kind = "Token"
		switch d.n(4) {
		case 0:
			limit(d.between(20*time.Millisecond, 2*time.Second)) // somebody who does not wait
		case 1:
			limit(d.between(30*time.Second, 2*time.Minute))
		}
		t, e := p.auth.TokenSource(ctx, u.id).Token()
		if err = e; err == nil {
			w.mu.Lock()
			if f := w.access[t.AccessToken]; f == nil || f.user != u {
				w.wrong("I7", "", "%s hands out the token of somebody else for %s", p.name(), u.name())
			}
			w.mu.Unlock()
		}
	}
	w.answered(p, u, kind, began, patience, err)
}

var errRejected = errors.New("401")

func (w *world) whoami(ctx context.Context, p *process, u *user) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.srv.APIURL()+"/whoami", nil)
	if err != nil {
		return err
	}
	res, err := p.auth.Client(ctx, u.id).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return err
	case res.StatusCode == http.StatusUnauthorized:
		return errRejected
	case res.StatusCode == http.StatusOK && !strings.Contains(string(body), u.id):
		w.mu.Lock()
		w.wrong("I7", "", "%s calls the API as somebody else than %s", p.name(), u.name())
		w.mu.Unlock()
	}
	return nil
}

// answered judges what a caller got.
func (w *world) answered(p *process, u *user, kind string, began time.Time, patience time.Duration, err error) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.dead {
		return
	}
	stopped := p.stoppedBetween(began.Add(-w.lease), now) > 0
	if took := now.Sub(began); took > patience+time.Second && !stopped {
		w.wrong("I5", "", "%s of %s at %s took %s, it had %s", kind, u.name(), p.name(), took, patience)
	}
	switch {
	case err == nil:
		w.count("calls answered")
	case errors.Is(err, core.ErrReconnect):
		w.count("calls: reconnect")
		w.log(p, "%s of %s: reconnect", kind, u.name())
		h := u.slot.now()
		if h.content.Status == "live" && u.liveSince.Before(began.Add(-w.lease)) && !stopped && len(u.lost) == 0 {
			w.wrong("I3", "", "%s answers reconnect for %s, whose grant is live", p.name(), u.name())
		}
	default:
		w.count("calls failed")
		w.log(p, "%s of %s: %v", kind, u.name(), err)
	}
	if w.skewed && errors.Is(err, errRejected) {
		return // two processes that had to learn the time, one after the other
	}
	if w.profile.quiet && err != nil && !(errors.Is(err, context.DeadlineExceeded) && patience < 3*time.Second) {
		w.wrong("I6", "", "%s of %s at %s fails without a fault: %v", kind, u.name(), p.name(), err)
	}
}

// settle waits until every grant has come to an end: for longer than a token
// is cached, every instance has an answer and none is in doubt.
func (w *world) settle() {
	deadline := time.Now().Add(endsWithin)
	intents := make([]string, len(w.users))
	for good, n := 0, 0; good < 4; n++ {
		w.mu.Lock()
		procs := append([]*process(nil), w.procs...)
		w.mu.Unlock()
		var open []string
		var mu sync.Mutex
		var probes sync.WaitGroup
		for _, u := range w.users {
			for _, p := range procs {
				probes.Go(func() {
					time.Sleep(w.roll("probe", u.index, p.index, n).between(0, 100*time.Millisecond))
					ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), callerKey{}, 1_000_000+(n*10+u.index)*10+p.index), 20*time.Second)
					defer cancel()
					err := w.whoami(ctx, p, u)
					w.mu.Lock()
					defer w.mu.Unlock()
					h := u.slot.now()
					state := "gone"
					if h.found {
						state = h.content.Status
					}
					doubt := ""
					if h.content.Intent != nil {
						doubt = h.content.Intent.ID
					}
					agree := err == nil && state == "live" && (doubt == "" || doubt != intents[u.index]) || errors.Is(err, core.ErrReconnect) && state != "live"
					w.log(p, "probe of %s: %v, stored %s", u.name(), err, w.describe(h.content))
					if !agree {
						mu.Lock()
						defer mu.Unlock()
						open = append(open, fmt.Sprintf("%s at %s is %s: %v", u.name(), p.name(), w.describe(h.content), err))
					}
				})
			}
		}
		probes.Wait()
		w.mu.Lock()
		for _, u := range w.users {
			if in := u.slot.now().content.Intent; in != nil {
				intents[u.index] = in.ID
			}
		}
		w.mu.Unlock()
		if good++; len(open) > 0 {
			good = 0
		}
		if time.Now().After(deadline) && good == 0 {
			w.mu.Lock()
			w.wrong("I5", "", "there is no end %s after the last fault: %s", endsWithin, strings.Join(open, "; "))
			w.mu.Unlock()
			return
		}
		time.Sleep(20 * time.Second)
	}
}

// close ends everything and looks for what is left running.
func (w *world) close(goroutines int) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	w.mu.Lock()
	w.closing = true
	procs := append([]*process(nil), w.procs...)
	w.mu.Unlock()
	for _, p := range procs {
		if err := p.auth.Close(ctx); err != nil {
			w.mu.Lock()
			w.wrong("I8", "", "%s does not close: %v", p.name(), err)
			w.mu.Unlock()
		}
	}
	w.mu.Lock()
	for _, p := range w.everyone {
		p.dead = true
		p.leave()
	}
	w.mu.Unlock()
	time.Sleep(20 * time.Minute) // those whom a crash has left behind
	w.srv.Close()
	cancel()
	synctest.Wait()
	if left := runtime.NumGoroutine(); left > goroutines && !raceEnabled {
		buf := make([]byte, 1<<16)
		w.wrong("I8", "", "%d goroutines are left:\n%s", left-goroutines, buf[:runtime.Stack(buf, true)])
	}
}
