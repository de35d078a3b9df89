//go:build unix

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// crowd is all users.
type crowd struct {
	o         options
	fleet     *fleet
	ledger    *ledger
	transport *http.Transport
	users     []*user
}

// user is one of them. What a user does, and where, is chosen from the seed.
type user struct {
	*crowd
	id      string
	rng     *rand.Rand
	browser *browser
	out     bool // or may be: between a sign-out, or a lost session, and the next sign-in
}

const basePath = "/auth/musixmatch"

func newCrowd(o options, f *fleet, l *ledger, m *musixmatch) *crowd {
	c := &crowd{o: o, fleet: f, ledger: l, transport: &http.Transport{MaxIdleConnsPerHost: 128, IdleConnTimeout: 5 * time.Second}}
	for i := range o.users {
		u := &user{crowd: c, id: fmt.Sprintf("mxm:%021d", i+1), rng: rand.New(rand.NewPCG(o.seed, uint64(i)+1000))}
		u.browser = c.newBrowser()
		m.AddUser(u.id, "")
		c.users = append(c.users, u)
	}
	return c
}

// live is what all users do until ctx is done.
func (c *crowd) live(ctx context.Context) {
	var all sync.WaitGroup
	for _, u := range c.users {
		all.Go(func() { u.live(ctx) })
	}
	all.Wait()
}

func (u *user) live(ctx context.Context) {
	u.rest(ctx, u.rng.Float64())
	u.signIn(ctx)
	for ctx.Err() == nil {
		u.act(ctx)
		u.rest(ctx, 2*u.rng.Float64())
	}
}

func (u *user) act(ctx context.Context) {
	switch n := u.rng.IntN(100); {
	case n < 50:
		u.judge(ctx, u.together(ctx, "/call", 2+u.rng.IntN(5)))
	case n < 62: // pages that are open while others go on
		path := fmt.Sprintf("/slow?ms=%d", 100+u.rng.IntN(1500))
		slow := u.aside(func(at int) outcome { return u.request(ctx, http.MethodGet, path, at) })
		u.judge(ctx, append(u.together(ctx, "/call", 2), <-slow))
	case n < 74:
		u.leave(ctx)
	case n < 88:
		u.beAbsent(ctx)
	case n < 91:
		u.signOut(ctx)
	default:
		u.judge(ctx, []outcome{u.request(ctx, http.MethodGet, "/me", u.somewhere())})
	}
}

// rest is times times the pace.
func (u *user) rest(ctx context.Context, times float64) {
	sleep(ctx, time.Duration(times*float64(u.o.pace)))
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (u *user) somewhere() int { return u.rng.IntN(len(u.fleet.instances)) }

// aside does something while the user does something else.
func (u *user) aside(do func(instance int) outcome) <-chan outcome {
	at, done := u.somewhere(), make(chan outcome, 1)
	go func() { done <- do(at) }()
	return done
}

// together sends n requests at once, to one instance and another.
func (u *user) together(ctx context.Context, path string, n int) (all []outcome) {
	var waiting []<-chan outcome
	for range n {
		waiting = append(waiting, u.aside(func(at int) outcome { return u.request(ctx, http.MethodGet, path, at) }))
	}
	for _, w := range waiting {
		all = append(all, <-w)
	}
	return all
}

// leave sends requests and does not wait for all of the answers.
func (u *user) leave(ctx context.Context) {
	brief, cancel := context.WithTimeout(ctx, time.Duration(1+u.rng.IntN(40))*time.Millisecond)
	defer cancel()
	stays := u.aside(func(at int) outcome { return u.request(ctx, http.MethodGet, "/call", at) })
	for range 1 + u.rng.IntN(3) {
		u.request(brief, http.MethodGet, "/call", u.somewhere())
	}
	u.judge(ctx, []outcome{<-stays})
}

// beAbsent leaves the work to jobs for a while.
func (u *user) beAbsent(ctx context.Context) {
	for range 2 + u.rng.IntN(4) {
		u.rest(ctx, 2*u.rng.Float64())
		job := u.request(ctx, http.MethodGet, "/job?user="+u.id, u.somewhere())
		if job.is(http.StatusUnauthorized, "reconnect") {
			u.reconnect(ctx)
		}
	}
}

// request sends a request and enters it.
func (u *user) request(ctx context.Context, method, path string, at int) outcome {
	from := time.Now()
	u.ledger.sending(u.id, at)
	o := u.browser.do(ctx, method, path, at)
	o.left = o.status == 0 && ctx.Err() != nil
	u.ledger.enter(u.id, at, path, from, o)
	return o
}

// judge draws the conclusions from what a user saw.
func (u *user) judge(ctx context.Context, all []outcome) {
	for _, o := range all {
		switch {
		case ctx.Err() != nil:
			return
		case o.is(http.StatusUnauthorized, "reconnect"):
			u.reconnect(ctx)
			return
		case o.is(http.StatusUnauthorized, "not_signed_in"):
			u.isOut(ctx)
			return
		}
	}
}

// isOut signs in when there is no session. There should have been one if the
// user did not end it, nor a sign-in replace it whose answer never came.
func (u *user) isOut(ctx context.Context) {
	if !u.out {
		u.ledger.signedOut(u.id)
	}
	u.signIn(ctx)
}

// reconnect waits for the moment in which it is certain that the connection is
// over: a process that was stopped may yet write what it got. Then the user
// connects again.
func (u *user) reconnect(ctx context.Context) {
	u.ledger.say(u.id, "is told to connect again")
	for end := time.Now().Add(u.certain()); !u.ledger.mustConnect(u.id, !time.Now().Before(end)); sleep(ctx, time.Second) {
		if ctx.Err() != nil {
			return
		}
		if o := u.request(ctx, http.MethodGet, "/call", u.somewhere()); o.status == http.StatusOK {
			u.ledger.count("told to connect again, and connected after all")
			u.ledger.say(u.id, "is connected after all")
			return
		}
	}
	u.signIn(ctx)
}

// certain is how long it takes until nobody can come with newer tokens.
func (u *user) certain() time.Duration {
	if u.o.faults[stop] == 0 {
		return u.ledger.recovery()
	}
	return longestStop(u.o.refreshTimeout) + u.ledger.recovery()
}

// signIn goes through the whole flow until it succeeds.
func (u *user) signIn(ctx context.Context) {
	u.out = true
	for ; ctx.Err() == nil; u.rest(ctx, u.rng.Float64()) {
		login := u.request(ctx, http.MethodGet, basePath+"/login", u.somewhere())
		if login.status != http.StatusSeeOther {
			continue
		}
		callback := u.browser.authorize(ctx, login.location, u.id)
		if callback == "" {
			continue
		}
		back := u.request(ctx, http.MethodGet, callback, u.somewhere())
		if back.status == http.StatusSeeOther && back.location == "/" {
			u.ledger.signedIn(u.id)
			u.out = false
			return
		}
	}
}

// signOut signs out while a slow request is under way, sees that the session is
// over for good, and signs in again.
func (u *user) signOut(ctx context.Context) {
	slow := u.aside(func(at int) outcome { return u.request(ctx, http.MethodGet, "/slow?ms=400", at) })
	sleep(ctx, 100*time.Millisecond)
	old := u.browser.copy()
	u.out = true
	o := u.request(ctx, http.MethodPost, basePath+"/logout", u.somewhere())
	u.ledger.say(u.id, "signs out: %s", o.class())
	<-slow
	if o.status == http.StatusSeeOther {
		u.ledger.count("sign-outs")
		u.seesItsOver(ctx, old)
	}
	if ctx.Err() == nil {
		u.browser = u.newBrowser()
		u.signIn(ctx)
	}
}

func (u *user) seesItsOver(ctx context.Context, old *browser) {
	if o := old.do(ctx, http.MethodGet, "/me", u.somewhere()); o.status == http.StatusOK {
		u.ledger.cameBack(u.id)
	}
}

// settle is the end: everything works again, and within a while every user must
// be served, or know to connect again.
func (c *crowd) settle(ctx context.Context) {
	var all sync.WaitGroup
	for _, u := range c.users {
		all.Go(func() { u.settle(ctx) })
	}
	all.Wait()
}

func (u *user) settle(ctx context.Context) {
	var last outcome
	for end := time.Now().Add(2 * u.certain()); time.Now().Before(end) && ctx.Err() == nil; sleep(ctx, time.Second) {
		switch last = u.request(ctx, http.MethodGet, "/call", u.somewhere()); {
		case last.status == http.StatusOK:
			u.ledger.count("users served in the end")
			return
		case last.is(http.StatusUnauthorized, "reconnect"):
			u.reconnect(ctx)
		case last.is(http.StatusUnauthorized, "not_signed_in"):
			u.isOut(ctx)
		}
	}
	if ctx.Err() == nil {
		u.ledger.stuck(u.id, last.class())
	}
}
