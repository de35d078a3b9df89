package simulation_test

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/grant"
	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
)

const (
	dialTimeout = 10 * time.Second // as package musixmatch has it
	callTimeout = 10 * time.Second // of every call but a refresh
)

var (
	errReset   = errors.New("connection reset by peer")
	errRefused = errors.New("connection refused")
	errOdd     = errors.New("the answer is odd")
)

func lost(cause error) error {
	return &musixmatch.CallError{What: "simulation", Sent: true, Cause: cause}
}
func unsent(cause error) error { return &musixmatch.CallError{What: "simulation", Cause: cause} }

type callerKey struct{}

const firstCaller = 1000

// callerOf returns the number of the application's call that ctx belongs to,
// or other for what an instance does on its own. Calls that are made at the same
// instant are told apart by it, whichever comes first.
func callerOf(ctx context.Context, other int) int {
	if n, ok := ctx.Value(callerKey{}).(int); ok {
		return n
	}
	return other
}

func sleep(ctx context.Context, d time.Duration) error {
	if ctx.Done() == nil {
		time.Sleep(d)
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// link is the authorization server as one process reaches it.
type link struct{ p *process }

// Now implements grant.Server.
func (l link) Now() (time.Time, bool) { return l.p.server.Now() }

// exchange is one request on its way.
type exchange struct {
	w    *world
	p    *process
	kind kind
	coin *coin // the refresh token presented
	dice *dice

	sent           time.Time         // when the process came to the first write
	began          musixmatch.Moment // then, on its clocks
	excuse         string            // for presenting a spent token
	spentOnArrival bool
	heard          bool // its process knew the server's clock
	issued         *coin
	harmed         bool // the answer never arrived whole
	stuck          bool // it waited in the kernel of its sender
}

// exchange begins a request. about tells it from others at the same instant. w.mu is held.
func (p *process) exchange(k kind, c *coin, about int) *exchange {
	p.steps[step{k, about}]++
	return &exchange{
		w: p.w, p: p, kind: k, coin: c, dice: p.w.roll("exchange", int(k), p.index, p.life, about, p.steps[step{k, about}]),
		sent: time.Now(), began: p.clock.now(), heard: p.heard,
	}
}

// hit reports whether a fault of that rate meets the exchange.
func (x *exchange) hit(rate float64) bool { return x.dice.chance(rate) && x.w.faulty() }

// read takes note of an answer that has arrived. w.mu is held.
func (x *exchange) read(date time.Time, dated bool) (took time.Duration) {
	took = x.p.time.Since(x.began)
	if x.issued != nil {
		x.issued.took = took
	}
	if dated {
		x.p.server.Read(date.Format(http.TimeFormat), took)
	}
	x.p.heard = true
	return took
}

// Connect implements grant.Server.
func (l link) Connect(ctx context.Context, refresh string) (grant.Conn, error) {
	p, w := l.p, l.p.w
	w.mu.Lock()
	c, user := w.coins[refresh], -1
	if c != nil {
		user = c.family.user.index
	}
	w.mu.Unlock()
	if err := p.reach(dial, user); err != nil {
		return nil, err
	}
	w.mu.Lock()
	d := w.roll("dial", p.index, p.life, user, p.steps[step{dial, user}])
	latency := d.between(300*time.Microsecond, 20*time.Millisecond)
	refused := w.faults && d.chance(w.profile.refuseDial)
	if w.faults && d.chance(w.profile.slowDial) {
		w.count("net: slow dial")
		latency = d.between(500*time.Millisecond, pick(d, 8*time.Second, time.Minute))
	}
	if w.profile.dials > 0 {
		latency = d.between(time.Second, w.profile.dials)
	}
	w.mu.Unlock()
	if err := sleep(ctx, min(latency, dialTimeout)); err != nil {
		return nil, unsent(err)
	}
	switch {
	case latency > dialTimeout:
		return nil, unsent(context.DeadlineExceeded)
	case refused:
		w.note(p, "net: refused", "cannot connect")
		return nil, unsent(errRefused)
	}
	return &conn{p: p, coin: c, user: user, answers: make(chan musixmatch.Answer, 1)}, nil
}

// conn is a connection for one refresh token.
type conn struct {
	p       *process
	coin    *coin // nil: an unknown one
	user    int
	answers chan musixmatch.Answer

	// Guarded by w.mu.
	sent, answered bool
	ended, reset   bool
}

// Send implements grant.Conn.
func (c *conn) Send(may func() bool) <-chan musixmatch.Answer {
	if !may() {
		c.answers <- musixmatch.Answer{Err: unsent(errors.New("too late to send"))}
		return c.answers
	}
	w := c.p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.p.dead {
		return c.answers
	}
	c.sent = true
	w.asks(c.p)
	excuse := w.presents(c.p, c.coin)
	x := c.p.exchange(refreshing, c.coin, c.user)
	x.excuse = excuse
	w.background.Go(func() { x.post(c) })
	return c.answers
}

// Close implements grant.Conn.
func (c *conn) Close() {
	c.p.w.mu.Lock()
	defer c.p.w.mu.Unlock()
	c.end()
}

// Reset implements grant.Conn.
func (c *conn) Reset() {
	c.p.w.mu.Lock()
	defer c.p.w.mu.Unlock()
	c.reset = true
	c.end()
}

// end is the last that is heard of a refresh. w.mu is held.
func (c *conn) end() {
	c.ended = true
	if c.sent && !c.answered {
		c.answered = true
		c.answers <- musixmatch.Answer{Err: lost(context.Canceled)}
	}
}

// post is what becomes of a refresh, whether or not its sender still lives.
func (x *exchange) post(c *conn) {
	w, d, p := x.w, x.dice, x.w.profile
	if x.p.reach(send, c.user) != nil {
		return
	}
	w.mu.Lock()
	x.p.stop(sent, c.user)
	gone := c.ended
	w.mu.Unlock()
	if gone { // stopped between the check and the first byte, on a connection that was given up meanwhile
		return
	}
	there := d.between(2*time.Millisecond, 120*time.Millisecond)
	if p.slowPOST && w.faulty() {
		there = d.between(5*time.Second, 25*time.Second)
	}
	if p.stuck > 0 && x.hit(p.stuck) {
		queued := d.between(20*time.Second, 200*time.Second)
		w.note(x.p, "net: request stuck", "refresh with %s waits %s in the kernel", x.coin, queued)
		time.Sleep(queued)
		w.mu.Lock()
		thrown := c.reset || x.p.dead
		x.stuck = true
		w.mu.Unlock()
		if thrown {
			return
		}
	}
	switch {
	case x.hit(p.loseRequest):
		w.note(x.p, "net: request lost", "refresh with %s is lost on the way", x.coin)
		if d.chance(0.5) {
			time.Sleep(d.between(0, 5*time.Second))
			c.answer(x, failure(lost(errReset)))
		}
		return
	case x.hit(p.landLate):
		there = d.between(20*time.Second, 150*time.Second)
		w.note(x.p, "net: request lands late", "refresh with %s takes %s", x.coin, there)
	case x.hit(p.slow):
		// The protocol presumes that a request lands within a lease or never.
		there = d.between(time.Second, 40*time.Second)
		w.note(x.p, "net: request slow", "refresh with %s takes %s", x.coin, there)
	}
	time.Sleep(there)
	if err := x.refused(); err != nil {
		c.answer(x, failure(err))
		return
	}

	w.mu.Lock()
	x.spentOnArrival = x.coin != nil && x.coin.spent
	w.mu.Unlock()
	time.Sleep(d.between(5*time.Millisecond, 400*time.Millisecond))
	if p.slowest > 0 && x.hit(0.4) {
		time.Sleep(d.between(p.slowest*3/4, p.slowest))
	}
	w.mu.Lock()
	issued, code := w.refresh(x)
	x.issued = issued
	date, dated := w.date()
	var tokens musixmatch.Tokens
	if issued != nil {
		tokens = musixmatch.Tokens{
			Access: issued.access, Refresh: issued.refresh, Scope: "profile email", Status: 200, Complete: true,
			ExpiresIn: time.Until(issued.expires).Truncate(time.Second), ExpiryKnown: dated,
		}
		issued.short = tokens.ExpiresIn < 30*time.Second
		if w.noRotation {
			tokens.Refresh = ""
		}
	}
	w.mu.Unlock()

	arrive := func() musixmatch.Answer {
		took := x.read(date, dated)
		if tokens.Issued, _ = x.p.server.Now(); dated {
			tokens.Date, tokens.Issued = date, date.Add(-took)
		}
		switch {
		case code != "":
			return musixmatch.Answer{Err: &musixmatch.CallError{What: "simulation", Sent: true, Status: 400, Code: code}}
		case tokens.Access == "" && tokens.Refresh == "":
			return musixmatch.Answer{Err: &musixmatch.CallError{What: "simulation", Sent: true, Status: 200, Cause: tokens.Defect}}
		}
		return musixmatch.Answer{Tokens: &tokens}
	}
	if issued != nil && x.hit(p.odd) {
		x.spoil(&tokens)
	}
	back := d.between(2*time.Millisecond, 120*time.Millisecond)
	switch {
	case x.hit(p.loseAnswer):
		how := pick(d, "reset", "silence", "502", "truncated")
		x.harmed = true
		w.note(x.p, "net: answer lost, "+how, "the answer to %s is lost: %s", x.coin, how)
		time.Sleep(back)
		switch how {
		case "silence":
			if issued != nil {
				w.mu.Lock()
				x.p.owed = time.Now()
				w.mu.Unlock()
			}
		case "reset":
			c.answer(x, failure(lost(errReset)))
		case "502":
			c.answer(x, failure(&musixmatch.CallError{What: "simulation", Sent: true, Status: 502}))
		case "truncated":
			if issued != nil {
				x.truncate(&tokens)
			}
			c.answer(x, arrive)
		}
		return
	case p.answers > 0 && x.hit(p.answers):
		back = d.between(x.p.timeout, 3*x.p.timeout-5*time.Second)
		w.note(x.p, "net: answer late", "the answer to %s takes %s", x.coin, back)
	case x.hit(p.slow):
		back = d.between(time.Second, 35*time.Second)
		w.note(x.p, "net: answer slow", "the answer to %s takes %s", x.coin, back)
	}
	time.Sleep(back)
	c.answer(x, arrive)
}

func failure(err error) func() musixmatch.Answer {
	return func() musixmatch.Answer { return musixmatch.Answer{Err: err} }
}

// answer lets an answer arrive. read is called with w.mu held.
func (c *conn) answer(x *exchange, read func() musixmatch.Answer) {
	w := c.p.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.ended {
		if x.issued != nil && !x.harmed && !c.p.dead && !w.closing && c.p.stoppedBetween(x.sent, time.Now()) == 0 && w.mustRead(x) {
			x.issued.thrown = c.p
		}
		return
	}
	c.p.stop(answer, c.user)
	if c.p.awake(answer, c.user) != nil || c.ended {
		return
	}
	a := read()
	if a.Tokens != nil && x.issued != nil && (a.Tokens.Refresh == x.issued.refresh || w.noRotation) {
		x.issued.holders = append(x.issued.holders, c.p)
		x.issued.received = time.Now()
		w.log(c.p, "receives %s", x.issued)
	}
	c.answered = true
	c.answers <- a
}

// mustRead reports whether its process must have waited for the answer of x. w.mu is held.
func (w *world) mustRead(x *exchange) bool {
	now := time.Now()
	if now.Sub(x.sent) < x.p.timeout-3*time.Second { // the budget may have been used
		return true
	}
	// While the oracle says that there is an answer, it is waited for. It cannot say
	// so by a token that something else may have killed.
	return w.profile.answers > 0 && !w.blind && x.coin.family.user.slot.now().content.Dated && len(x.coin.holders) > 0 && !x.coin.odd && now.Add(x.coin.took+time.Second).Before(x.coin.expires) &&
		x.issued.committed.Add(w.deathLag).Before(x.sent.Add(x.p.timeout-time.Second)) && now.Sub(x.sent) < 3*x.p.timeout-3*time.Second
}

// refused is a request that the server, or what stands before it, answers
// without a look at it.
func (x *exchange) refused() error {
	if err := x.w.throttled(x.p); err != nil {
		return err
	}
	if x.kind == refreshing && x.w.profile.down && x.w.faulty() && time.Since(x.w.start) > time.Hour {
		x.w.refuses(x.p, x.coin)
		if x.w.definite {
			return &musixmatch.CallError{What: "simulation", Sent: true, Status: 400, Code: "invalid_scope"}
		}
		return &musixmatch.CallError{What: "simulation", Sent: true, Status: 502}
	}
	if !x.hit(x.w.profile.refuseRequest) {
		return nil
	}
	d := x.dice
	x.w.note(x.p, "net: 503 before", "%s with %s is answered 503 unprocessed", x.kind, x.coin)
	e := &musixmatch.CallError{What: "simulation", Sent: true, Status: pick(d, 503, 502, 429, 500, 401), Code: "temporarily_unavailable"}
	if e.Status == 401 { // somebody has deployed the wrong secret
		e.Code = "invalid_client"
	}
	if d.chance(0.4) {
		e.RetryAfter = time.Duration(1+d.n(40)) * time.Second
	}
	return e
}

// truncate cuts an answer short: before the tokens, between them, or after.
func (x *exchange) truncate(t *musixmatch.Tokens) {
	t.Defect, t.Complete = errOdd, false
	switch x.dice.n(3) {
	case 0:
		t.Access, t.Refresh = "", ""
	case 1:
		t.Refresh = ""
	}
}

// spoil makes an answer odd without touching its tokens.
func (x *exchange) spoil(t *musixmatch.Tokens) {
	how := pick(x.dice, "expires_in -1", "expires_in soon", "expires_in 0", "expires_in missing", "no token_type", "text/html", "more after it")
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	x.w.count("net: odd answer")
	x.w.log(x.p, "the answer to %s is odd: %s", x.coin, how)
	switch how {
	case "expires_in -1", "expires_in 0":
		x.issued.odd, t.ExpiresIn = true, 0
	case "expires_in soon", "expires_in missing":
		x.issued.odd, t.ExpiresIn, t.ExpiryKnown = true, 300*time.Second, false
	case "more after it":
		t.Defect, t.Complete = errOdd, false
	default:
		t.Defect = errOdd
	}
}

// look is a question to token-metadata.
type look struct {
	p      *process
	caller bool // for a caller, and not for a refresh in doubt
	token  string
}

// Introspect implements grant.Server.
func (l link) Introspect(ctx context.Context, token string) (musixmatch.Introspection, error) {
	p, w := l.p, l.p.w
	w.mu.Lock()
	a, user := w.access[token], -1
	if a != nil {
		user = a.family.user.index
	}
	w.mu.Unlock()
	caller := callerOf(ctx, user)
	p.mustLive(p.reach(ask, caller))
	w.mu.Lock()
	w.asks(p)
	x := p.exchange(looking, nil, caller)
	w.mu.Unlock()
	q := look{p, caller >= firstCaller, token}

	var in musixmatch.Introspection
	lied := false
	err := x.call(ctx, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		in.Date, in.Dated = w.date()
		if in.Active = a.known(time.Now(), w.birthLag, w.deathLag); in.Active {
			in.Sub = a.family.user.id
		}
		if x.dice.chance(w.profile.lie) && w.faults && w.mayLie(q, a) {
			w.count("net: lie")
			w.log(p, "token-metadata calls a live token inactive")
			in.Active, in.Sub, lied = false, "", true
		}
		return nil
	})
	p.mustLive(p.reach(answer, caller))
	if err != nil {
		return musixmatch.Introspection{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	x.read(in.Date, in.Dated)
	if !lied {
		w.lies[q] = false
	}
	return in, nil
}

// mayLie reports whether token-metadata may call the token inactive: not
// twice in a row, which is more than the protocol promises to survive.
func (w *world) mayLie(q look, a *access) bool {
	if w.lies[q] || time.Since(w.lied) < 3*time.Minute || a == nil || time.Since(a.family.last().sent) < 10*time.Second {
		return false
	}
	w.lies[q], w.lied = true, time.Now()
	return true
}

// call is the way of a request that may be lost at the price of a click, and of
// its answer. There is no more of it when ctx or callTimeout has ended.
func (x *exchange) call(ctx context.Context, serve func() error) error {
	w, d, p := x.w, x.dice, x.w.profile
	left := callTimeout
	wait := func(t time.Duration) error {
		if err := sleep(ctx, min(t, left)); err != nil {
			return lost(err)
		}
		if left -= t; left <= 0 {
			return lost(context.DeadlineExceeded)
		}
		return nil
	}
	there := d.between(2*time.Millisecond, 120*time.Millisecond)
	switch {
	case x.hit(p.loseRequest / 4):
		w.note(x.p, "net: request lost", "%s is lost on the way", x.kind)
		there = callTimeout
		if d.chance(0.5) {
			if err := wait(d.between(0, 5*time.Second)); err != nil {
				return err
			}
			return lost(errReset)
		}
	case x.hit(p.slow):
		there = d.between(time.Second, 40*time.Second)
		w.note(x.p, "net: request slow", "%s takes %s", x.kind, there)
	}
	if err := wait(there); err != nil {
		return err
	}
	if err := x.refused(); err != nil {
		return err
	}
	if err := serve(); err != nil {
		return err
	}
	back := d.between(2*time.Millisecond, 120*time.Millisecond)
	switch {
	case x.hit(p.loseAnswer / 4):
		how := pick(d, "reset", "silence", "502")
		x.harmed = true
		w.note(x.p, "net: answer lost, "+how, "the answer to %s is lost: %s", x.kind, how)
		if how == "silence" {
			back = callTimeout
		}
		if err := wait(back); err != nil {
			return err
		}
		if how == "502" {
			return &musixmatch.CallError{What: "simulation", Sent: true, Status: 502}
		}
		return lost(errReset)
	case x.hit(p.slow):
		back = d.between(time.Second, 35*time.Second)
		w.note(x.p, "net: answer slow", "the answer to %s takes %s", x.kind, back)
	}
	return wait(back)
}

// Revoke implements grant.Server.
func (l link) Revoke(ctx context.Context, refresh string) {
	p, w := l.p, l.p.w
	w.mu.Lock()
	c := w.coins[refresh]
	if !w.revocation || c == nil {
		w.mu.Unlock()
		return
	}
	about := callerOf(ctx, c.family.user.index)
	w.mu.Unlock()
	p.mustLive(p.reach(revoke, about))
	w.mu.Lock()
	x := p.exchange(revoking, c, about)
	w.mu.Unlock()
	_ = x.call(ctx, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.revoked(p, c.family)
		return nil
	})
}

// exchangeCode trades an authorization code for tokens, and asks whose they are.
func (l link) exchangeCode(ctx context.Context, u *user) (*musixmatch.Tokens, *coin, error) {
	p, w := l.p, l.p.w
	caller := callerOf(ctx, u.index)
	p.mustLive(p.reach(send, caller))
	w.mu.Lock()
	x := p.exchange(logging, nil, caller)
	w.mu.Unlock()
	var t *musixmatch.Tokens
	var date time.Time
	var dated bool
	err := x.call(ctx, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		x.issued = w.signIn(u, p, x.sent)
		date, dated = w.date()
		t = &musixmatch.Tokens{
			Access: x.issued.access, Refresh: x.issued.refresh, Scope: "profile email", Status: 200, Complete: true,
			ExpiresIn: w.life, ExpiryKnown: dated,
		}
		if w.profile.noRefresh {
			t.Refresh = ""
		}
		return nil
	})
	p.mustLive(p.reach(answer, caller))
	if err != nil {
		return nil, nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	took := x.read(date, dated)
	if t.Issued, _ = p.server.Now(); dated {
		t.Date, t.Issued = date, date.Add(-took)
	}
	x.issued.holders = append(x.issued.holders, p)
	x.issued.received = time.Now()
	w.log(p, "receives %s", x.issued)
	return t, x.issued, nil
}
