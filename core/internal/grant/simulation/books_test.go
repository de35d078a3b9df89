package simulation_test

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

func (c content) String() string {
	s := fmt.Sprintf("%s gen %d", c.Status, c.Gen)
	if c.Refresh != "" {
		s += " " + c.coin.String()
	}
	if c.Reason != "" {
		s += " " + c.Reason
	}
	if c.Intent != nil {
		s += fmt.Sprintf(" intent %.4s attempt %d", c.Intent.ID, c.Intent.Attempt)
	}
	return s
}

// holder says who holds a live token: a process, the store, or nobody.
func (w *world) holder(c *coin) (who string, p *process) {
	for _, p := range c.holders {
		if !p.dead {
			return p.String(), p
		}
	}
	for _, sl := range w.store.slots {
		if sl.now().content.coin == c {
			return "the store", nil
		}
	}
	return "", nil
}

// presents is asked when a process is about to present c to the server. It returns
// what excuses that. w.mu is held.
func (w *world) presents(p *process, c *coin) (excuse string) {
	w.count("refresh requests")
	w.log(p, "presents %s", c)
	p.presented, w.presentedAt = time.Now(), time.Now()
	if c == nil {
		return ""
	}
	c.presented++
	f := c.family
	if !c.spent || f.destroyed {
		return ""
	}
	w.count("replays")
	excuse = w.excuse(f)
	if who, _ := w.holder(f.last()); who != "" {
		w.wrong("I1", excuse, "%s presents %s while %s holds its live successor %s", p, c, who, f.last())
	}
	return excuse
}

// judgeRotation looks at a refresh that succeeds. w.mu is held.
func (w *world) judgeRotation(x *exchange, now time.Time) {
	left := x.coin.expires.Sub(now)
	due := min(3*w.longest, max(w.life, 30*time.Second)/5)*5/4 + time.Second
	if w.profile.lag {
		w.judgeEarly(x, left > due)
	}
	if w.profile.quiet && left > due {
		excuse := ""
		if w.skew != 0 && !x.heard {
			excuse = "its clock is wrong, and it has heard nothing of the server's yet"
		}
		w.wrong("I6", excuse, "%s is spent with %s left to live", x.coin, left)
	}
}

// replayed is the answer to a replay by a server that revokes. w.mu is held.
func (w *world) replayed(f *family, x *exchange) {
	now := time.Now()
	who, _ := w.holder(f.last())
	if who == "" {
		f.destroy(now, w.unheld(f.last()))
		w.log(x.p, "server: family f%d is revoked, nobody held it: %s", f.id, f.cause)
		return
	}
	// A holder may wake up while the request is on its way: what excused its
	// sender when it was sent does so still.
	excuse := cmp.Or(x.excuse, w.excuse(f))
	if now.Sub(x.sent) > x.p.lease() && !(x.stuck && !x.p.dead && x.p.stoppedBetween(x.sent, now) == 0) {
		excuse = "a request landed more than a lease after it was sent"
	}
	f.destroy(now, excuse)
	w.wrong("I2", excuse, "family f%d is revoked by %s of %s while %s holds %s", f.id, x.coin, x.p, who, f.last())
}

// revoked is what a call to the revocation endpoint does. w.mu is held.
func (w *world) revoked(p *process, f *family) {
	if f.destroyed {
		return
	}
	w.log(p, "server: family f%d is revoked as asked", f.id)
	if h := f.user.slot.now(); h.content.Status == "live" && h.content.coin == f.last() {
		excuse := ""
		if f.user.slot.lost {
			excuse = "the store lost a write"
		}
		w.wrong("I2", excuse, "%s revokes family f%d, which is stored as live", p, f.id)
	}
	f.destroy(time.Now(), "revoked as asked")
}

// unheld says why nobody has the last tokens of a family.
func (w *world) unheld(c *coin) string {
	if c.thrown != nil {
		w.wrong("I3", "", "%s has thrown the answer with %s away", c.thrown, c)
	}
	if len(c.holders) == 0 {
		return "the answer reached nobody"
	}
	return "crashed before it could write"
}

// excuse names the fault that makes harm to the family inevitable, if there was one.
func (w *world) excuse(f *family) string {
	c := f.last()
	if len(f.user.lost) > 0 {
		return "the store lost a write"
	}
	var before *coin
	if len(f.coins) > 1 {
		before = f.coins[len(f.coins)-2]
	}
	late := time.Since(c.sent) > 4*w.longest*3/2 && !w.couldWrite(c)
	// An answer that was under way for long may be of a token that was issued as early.
	blind := w.blind || before != nil && (before.odd || !time.Now().Before(before.expires.Add(-before.took)))
	if w.killNone { // found out by calibration, where that comes in time
		return "the server leaves old access tokens alive, against the contract"
	}
	if c.storedAt.IsZero() && late && blind {
		return "a holder was slow for more than four leases, the oracle blind"
	}
	return ""
}

// couldWrite reports whether one who received c had a lease to write it in.
func (w *world) couldWrite(c *coin) bool {
	for _, p := range c.holders {
		idle := p.stoppedBetween(c.received, time.Now())
		for _, o := range w.windows {
			if o.index < 0 || o.index == p.index {
				idle += max(0, minTime(o.to, time.Now()).Sub(maxTime(o.from, c.received)))
			}
		}
		if !p.dead && time.Since(c.received)-idle > p.lease() {
			return true
		}
	}
	return false
}

// user is one user and what the judge remembers of the grant.
type user struct {
	index    int
	id       string
	slot     *slot
	families []*family
	grants   map[string]*grantBook
	newest   string // grant ID

	liveSince     time.Time // when the stored grant last became live
	events, marks int
	lost          []time.Time // when the store forgot something
	vanished      bool

	disconnected time.Time // when the last acknowledged Disconnect began
	acknowledged time.Time // when it ended
	login        time.Time // when the last attempt to log in ended
	logins       int       // under way
}

type grantBook struct {
	family *family
	ended  bool
	old    bool // another login has replaced it
}

// has reports whether the user's record ever held the family.
func (u *user) has(f *family) bool {
	for _, g := range u.grants {
		if g.family == f {
			return true
		}
	}
	return false
}

func (u *user) String() string { return fmt.Sprintf("u%d", u.index) }

// written looks at what has become of a user's record. w.mu is held.
func (w *world) written(p *process, sl *slot, before, next content) {
	u := sl.user
	now := time.Now()
	excuse := ""
	if sl.lost {
		excuse = "the store lost a write"
	}
	if next.Gen < before.Gen {
		blind := ""
		if len(p.keys) < len(keyring) {
			blind = "it has no key for what was stored"
		}
		w.wrong("I4", blind, "gen of %s goes back from %d to %d", u, before.Gen, next.Gen)
	}
	if next.Intent != nil && w.intents[next.Intent.ID] == nil {
		w.intents[next.Intent.ID] = p
	}
	g := u.grants[next.GrantID]
	c := next.coin
	if w.profile.noRefresh { // only what the record says about itself
		if a := w.access[next.Access]; next.Status == "reconnect" && a.known(now, w.birthLag, 0) && a.expires.Sub(now) > 5*time.Second {
			w.wrong("I3", "", "%s marks %s as lost (%s), whose access token lives", p, u, next.Reason)
		}
		if next.Status == "reconnect" && before.Status != "reconnect" {
			u.marks++
		}
		return
	}
	if g == nil {
		g = &grantBook{}
		if c != nil {
			g.family = c.family
		}
		if old := u.grants[u.newest]; old != nil {
			old.old = true
		}
		u.grants[next.GrantID], u.newest = g, next.GrantID
	}
	if g.old {
		w.wrong("I4", excuse, "%s writes an old grant of %s over a new login", p, u)
	}
	if g.ended && next.Status != "disconnected" {
		w.wrong("I4", w.excuseBack(u, excuse), "%s brings a disconnected grant of %s back", p, u)
	}
	switch next.Status {
	case "live":
		if before.Status == "disconnected" && w.mustBeDisconnected(u) {
			w.wrong("I4", w.excuseBack(u, excuse), "%s brings %s back, who has disconnected", p, u)
		}
		if b := before.coin; b != nil && c != nil && b.family == c.family && c.spent && !b.spent && !b.family.destroyed {
			w.wrong("I3", excuse, "%s writes the spent %s over the live %s", p, c, b)
		}
		if before.Status != "live" {
			u.liveSince = now
		}
		switch {
		case c == nil && next.Refresh != "":
			w.wrong("I7", "", "the record of %s holds an unknown refresh token", u)
		case c != nil && (c.family != g.family || c.family.user != u):
			w.wrong("I7", "", "the record of %s mixes families: %s", u, c)
		case next.Access != "" && (w.access[next.Access] == nil || w.access[next.Access].family != g.family):
			w.wrong("I7", "", "the record of %s mixes families", u)
		}
		if c != nil && c.storedAt.IsZero() {
			c.storedAt = now
		}
	case "reconnect":
		if before.Status != "reconnect" {
			u.marks++
		}
	case "disconnected":
		g.ended = true
	}
}

// wrong enters a violation, or what excuses it. w.mu is held.
func (w *world) wrong(invariant, excuse, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if excuse != "" {
		w.count("excused " + invariant + ": " + excuse)
		w.log(nil, "%s, excused: %s (%s)", invariant, text, excuse)
		return
	}
	w.log(nil, "VIOLATION of %s: %s", invariant, text)
	w.violations = append(w.violations, violation{invariant, text})
}

type violation struct{ invariant, text string }

func (v violation) String() string { return strings.TrimSpace(v.invariant + " " + v.text) }
