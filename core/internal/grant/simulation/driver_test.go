package simulation_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/grant"
)

// drive is what one user and the jobs for that user do.
func (w *world) drive(u *user) {
	var calls sync.WaitGroup
	defer calls.Wait()
	for n := 0; ; n++ {
		d := w.roll("drive", u.index, n)
		if w.profile.down && time.Since(w.start) > 65*time.Minute {
			time.Sleep(d.between(0, 90*time.Minute))
		}
		time.Sleep(d.between(100*time.Millisecond, pick(d, 2*time.Second, max(30*time.Second, w.life/12), max(60*time.Second, w.life/6))))
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
		if w.profile.churn && d.chance(w.profile.churnRate()) {
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
			number := firstCaller + (u.index*10_000+n)*10 + i
			if crowd == 1 {
				if call := w.call(p, u, number, c); call != nil {
					calls.Go(call)
				}
				continue
			}
			calls.Go(func() {
				time.Sleep(c.between(0, 50*time.Millisecond))
				if call := w.call(p, u, number, c); call != nil {
					call()
				}
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
		w.note(p, "disconnects", "%s disconnects", u)
		_, err := p.grants.End(ctx, u.id)
		w.mu.Lock()
		defer w.mu.Unlock()
		if !p.dead && err == nil {
			w.log(p, "%s has disconnected", u)
			u.disconnected, u.acknowledged = began, time.Now()
		}
		return
	}
	w.note(p, "logins", "%s logs in again", u)
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
		w.mu.Lock()
		c := w.signIn(u, p, time.Now())
		w.log(p, "imports %s", c)
		w.mu.Unlock()
		_, err = p.grants.Import(ctx, c.refresh)
	} else {
		err = p.login(ctx, u)
	}
	w.note(p, "", "the login of %s ends: %v", u, err)
}

var errUnknown = errors.New("token-metadata does not know the new token")

// login is what a callback does: it trades the code, asks whose the tokens are,
// three times if need be, and stores them.
func (p *process) login(ctx context.Context, u *user) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	server := link{p}
	t, c, err := server.exchangeCode(ctx, u)
	if err != nil {
		return err
	}
	for wait := 250 * time.Millisecond; ; wait *= 4 {
		in, introspectErr := server.Introspect(ctx, t.Access)
		if err = introspectErr; err == nil && in.Active {
			break
		}
		if err == nil {
			err = errUnknown
		}
		if wait > time.Second || sleep(ctx, wait) != nil {
			break
		}
	}
	if err == nil {
		err = p.grants.Put(ctx, u.id, t)
	}
	if err != nil && !errors.Is(err, grant.ErrUnread) {
		server.Revoke(ctx, c.refresh)
	}
	return err
}

// call is one call of an application for a user, and a look at its result. It
// returns nil if nothing had to be waited for.
func (w *world) call(p *process, u *user, number int, d *dice) func() {
	name, patience, deadline := "Token", 10*time.Second, true
	do := p.token
	switch d.n(10) {
	case 0:
		name, patience = "Verify", 40*time.Second
		do = func(ctx context.Context, u *user) error { return p.grants.Verify(ctx, u.id) }
	case 1, 2, 3:
		name, patience = "Client", d.between(5*time.Second, 40*time.Second)
		do = func(ctx context.Context, u *user) error { return p.callAPI(ctx, u, d) }
	default:
		switch d.n(4) {
		case 0:
			patience = d.between(20*time.Millisecond, 2*time.Second) // somebody who does not wait
		case 1:
			patience = d.between(30*time.Second, 2*time.Minute)
		default:
			deadline = false
		}
		if w.profile.leave && d.chance(0.8) {
			patience, deadline = d.between(time.Millisecond, 300*time.Millisecond), true
		}
		if t := p.grants.Cached(u.id); t != nil {
			w.handedOut(p, u, t.AccessToken)
			w.answered(p, u, name, time.Now(), patience, nil)
			return nil
		}
	}
	return func() {
		ctx := context.WithValue(p.ctx, callerKey{}, number)
		if deadline {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, patience)
			defer cancel()
		}
		began := time.Now()
		err := do(ctx, u)
		w.answered(p, u, name, began, patience, err)
	}
}

// get returns an access token as the application gets it.
func (p *process) get(ctx context.Context, u *user) (string, error) {
	t := p.grants.Cached(u.id)
	if t == nil {
		var err error
		if t, err = p.grants.Token(ctx, u.id); err != nil {
			return "", err
		}
	}
	p.w.handedOut(p, u, t.AccessToken)
	return t.AccessToken, nil
}

func (p *process) token(ctx context.Context, u *user) error {
	_, err := p.get(ctx, u)
	return err
}

// handedOut judges a token that an application got.
func (w *world) handedOut(p *process, u *user, token string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.dead {
		return
	}
	a := w.access[token]
	if a == nil || a.family.user != u {
		w.wrong("I7", "", "%s hands out the token of somebody else for %s", p, u)
		return
	}
	if p.served[u] != a {
		p.served[u], p.servedFrom[u] = a, time.Now()
	}
	w.judgeServed(p, u, a)
}

var errRejected = errors.New("401")

// callAPI is a call of the API as core.Auth.Client makes it.
func (p *process) callAPI(ctx context.Context, u *user, d *dice) error {
	token, err := p.get(ctx, u)
	if err != nil {
		return err
	}
	for retried := false; ; retried = true {
		if err := sleep(ctx, d.between(2*time.Millisecond, 120*time.Millisecond)); err != nil {
			return err
		}
		p.w.mu.Lock()
		accepted := p.w.access[token].known(time.Now(), p.w.apiBirth, p.w.apiDeath)
		p.w.mu.Unlock()
		if err := sleep(ctx, d.between(2*time.Millisecond, 120*time.Millisecond)); err != nil || accepted {
			return err
		}
		if retried {
			return errRejected
		}
		next, err := p.grants.Replace(ctx, u.id, token)
		switch {
		case err != nil:
			return err
		case next == nil:
			return errRejected
		}
		token = next.AccessToken
	}
}

// reconnect reports whether err says that there is no grant, or that it is lost.
func reconnect(err error) bool {
	var f *grant.Failure
	return errors.As(err, &f) && f.Outcome == grant.Reconnect
}

// answered judges what a caller got.
func (w *world) answered(p *process, u *user, kind string, began time.Time, patience time.Duration, err error) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.dead {
		return
	}
	stopped := p.stoppedBetween(began.Add(-p.lease()), now) > 0
	if took := now.Sub(began); took > patience+time.Second && !stopped {
		w.wrong("I5", "", "%s of %s at %s took %s, it had %s", kind, u, p, took, patience)
	}
	w.judgeWait(p, u, kind, began)
	switch {
	case err == nil:
		w.count("calls answered")
	case reconnect(err):
		w.count("calls: reconnect")
		w.log(p, "%s of %s: reconnect", kind, u)
		if u.slot.now().content.Status == "live" && u.liveSince.Before(began.Add(-p.lease())) && !stopped && len(u.lost) == 0 {
			w.wrong("I3", "", "%s answers reconnect for %s, whose grant is live", p, u)
		}
	default:
		w.count("calls failed")
		w.log(p, "%s of %s: %v", kind, u, err)
	}
	if w.skew != 0 && errors.Is(err, errRejected) {
		return // two processes that had to learn the time, one after the other
	}
	if w.profile.quiet && err != nil && !(errors.Is(err, context.DeadlineExceeded) && patience < 3*time.Second) {
		w.wrong("I6", "", "%s of %s at %s fails without a fault: %v", kind, u, p, err)
	}
}
