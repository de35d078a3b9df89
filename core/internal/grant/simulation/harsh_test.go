package simulation_test

import (
	"math/bits"
	"slices"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
)

// What a harsher world asks beyond the invariants of every world.

// complete ends the processes that a deploy has not reached.
func (w *world) complete() {
	if !w.profile.newKey {
		return
	}
	w.mu.Lock()
	procs := append([]*process(nil), w.procs...)
	w.mu.Unlock()
	for _, p := range procs {
		if p.life == 0 {
			p.deploy()
		}
	}
}

// throttled is the answer of a server that has had enough of the client.
func (w *world) throttled(p *process) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for _, b := range w.busy {
		if w.faults && !now.Before(b.from) && now.Before(b.to) {
			w.count("net: 429")
			after := b.to.Sub(now).Truncate(time.Second) + time.Second
			p.quietTill = maxTime(p.quietTill, now.Add(after))
			return &musixmatch.CallError{What: "simulation", Sent: true, Status: 429, RetryAfter: after}
		}
	}
	return nil
}

// refuses counts how often a server that refuses for hours is asked.
func (w *world) refuses(p *process, c *coin) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count("net: down")
	w.log(p, "refresh with %s is refused", c)
	const most = 100
	if c.refused++; c.refused == most+1 {
		w.wrong("I9", "", "%s presents %s for the %dth time in %s", p, c, c.refused, time.Since(w.start)-time.Hour)
	}
}

// asks is asked when a process begins a call that is not for a click. w.mu is held.
func (w *world) asks(p *process) {
	// What was under way when the answer was made has gone by a second later.
	if until := time.Until(p.quietTill); until > 2*time.Second && w.faults && p.askedAgain.Before(p.quietTill) {
		p.again++
		if p.again > 3 {
			p.askedAgain = p.quietTill
			w.wrong("I9", "", "%s goes on asking %s before a 429 allows it", p, until)
		}
	} else if until <= 0 {
		p.again = 0
	}
}

// commits is asked when a process begins a write. w.mu is held.
func (w *world) commits(p *process) {
	const most = 50
	p.commits = append(p.commits, time.Now())
	if n := len(p.commits); n > most {
		if p.commits = p.commits[n-most:]; time.Since(p.commits[0]) < time.Second && !p.hot {
			p.hot = true
			w.wrong("I9", "", "%s writes %d times in a second", p, most)
		}
	}
}

// judgeEarly bounds how often a living token is refreshed because somebody who
// is late calls it dead: each process doubles the age that it asks for. w.mu is held.
func (w *world) judgeEarly(x *exchange, early bool) {
	f := x.coin.family
	if !early {
		f.early = 0
		return
	}
	w.count("early refreshes")
	most := (2 + bits.Len(uint(w.birthLag/(15*time.Second)))) * len(w.procs)
	if f.early++; f.early == most+1 {
		w.wrong("I9", "", "%s refreshes the living %s, as was done %d times in a row", x.p, x.coin, f.early)
	}
}

// judgeServed looks at a token that is handed out. w.mu is held.
func (w *world) judgeServed(p *process, u *user, a *access) {
	now := time.Now()
	if w.profile.clocks && !w.noDate && !now.Before(a.expires.Add(2*time.Second)) && now.After(p.resume) {
		excuse := ""
		for _, c := range a.family.coins {
			switch {
			case c.access != a.value:
			case c.short:
				excuse = "scheduling makes 30 seconds of what was left of its life"
			case slices.Contains(c.holders, p) && p.refreshed[u].Before(c.received):
				excuse = "it is what the flight ends with, which was held up after the answer"
			}
		}
		if !p.heard && (w.profile.slow > 0 || p.stoppedBetween(p.clock.start, now) > 0) {
			excuse = "nobody has told it the time"
		}
		w.wrong("I9", excuse, "%s hands out a token of %s that has expired %s ago", p, u, now.Sub(a.expires))
	}
	if u.acknowledged.IsZero() || u.logins > 0 || !u.login.Before(u.disconnected) || len(u.lost) > 0 || u.slot.now().content.Status != "disconnected" {
		return
	}
	if len(p.keys) < len(keyring) || w.profile.slowStore > 0 {
		return // it may not have been able to read what was written
	}
	since := now.Sub(u.acknowledged)
	for _, o := range w.windows {
		if w.faults && o.from.Before(now) && now.Before(o.to.Add(p.lease())) {
			return // it could not have known
		}
	}
	if since > p.lease()+10*time.Second && p.stoppedBetween(u.acknowledged, now) == 0 {
		w.wrong("I4", "", "%s hands out a token of %s, %s after the user has disconnected", p, u, since)
	}
}

// judgeWait asks whether a caller had to wait for a store, though the token
// that the process had lived. w.mu is held.
func (w *world) judgeWait(p *process, u *user, kind string, began time.Time) {
	now, a := time.Now(), p.served[u]
	if !w.profile.hangs || kind != "Token" || now.Sub(began) < 1500*time.Millisecond || a == nil || p.servedFrom[u].After(began) || !a.live(now) || w.presentedAt.After(began.Add(-time.Second)) {
		return
	}
	if u.slot.now().content.Intent == nil && u.slot.now().content.Access == a.value {
		w.wrong("I5", "", "Token of %s at %s took %s, though the token that it had lives for another %s", u, p, now.Sub(began), a.expires.Sub(now))
	}
}

// excuseBack narrows the excuse for a disconnected grant that comes back: where
// a login may be lost, only the loss of the tombstone excuses.
func (w *world) excuseBack(u *user, excuse string) string {
	if !w.profile.strict || len(u.lost) == 0 || u.disconnected.IsZero() {
		return excuse
	}
	if u.lost[len(u.lost)-1].After(u.disconnected) {
		return excuse
	}
	return ""
}
