package simulation_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
)

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
	var kind string
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
