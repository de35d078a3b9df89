package simulation_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// family is one login at the server, as its books have it.
type family struct {
	id        int
	user      *user
	coins     []*coin
	destroyed bool
	cause     string    // of the destruction
	shadowed  time.Time // when a refresh elsewhere last killed its access tokens
}

// coin is one refresh token, with the access tokens that came with it.
type coin struct {
	family    *family
	n         int
	refresh   string
	expires   time.Time // of the access token, naturally
	sent      time.Time // when the request was sent that issued it
	spent     bool
	odd       bool   // the client may think that the access token lives shorter
	thrown    string // who closed the connection before the answer, for no reason
	presented int
	holders   []*process // who received it
	received  time.Time  // when one of them last did
	storedAt  time.Time  // when the store had it, if it ever did
}

func (f *family) last() *coin { return f.coins[len(f.coins)-1] }

// name is how a trace calls a refresh token.
func (w *world) name(refresh string) string {
	if c := w.coins[refresh]; c != nil {
		return fmt.Sprintf("u%d.f%d.r%d", c.family.user.index, c.family.id, c.n)
	}
	return "-"
}

func (w *world) describe(c content) string {
	s := fmt.Sprintf("%s gen %d", c.Status, c.Gen)
	if c.Refresh != "" {
		s += " " + w.name(c.Refresh)
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
			return p.name(), p
		}
	}
	for _, sl := range w.store.slots {
		if h := sl.now(); h.found && h.content.Refresh == c.refresh {
			return "the store", nil
		}
	}
	return "", nil
}

// newFamily is a login at the server.
func (w *world) newFamily(id int, u *user) *family {
	if w.singleLogin {
		for _, f := range w.families {
			if f.user == u {
				f.destroyed, f.cause = true, "replaced by a login"
			}
		}
	}
	f := &family{id: id, user: u}
	w.families[id] = f
	return f
}

func (w *world) newCoin(f *family, refresh, access string, sent time.Time) *coin {
	c := &coin{family: f, n: len(f.coins) + 1, refresh: refresh, expires: time.Now().Add(w.life), sent: sent}
	f.coins = append(f.coins, c)
	w.coins[refresh] = c
	w.access[access] = f
	return c
}

// presents is asked when a process is about to write b to the server. w.mu is held.
func (w *world) presents(p *process, b []byte) {
	_, body, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	form, _ := url.ParseQuery(string(body))
	c := w.coins[form.Get("refresh_token")]
	if c == nil || form.Get("grant_type") != "refresh_token" {
		return
	}
	w.count("refresh requests")
	f := c.family
	w.log(p, "presents %s", w.name(c.refresh))
	p.presented = time.Now()
	if !c.spent || f.destroyed {
		return
	}
	w.count("replays")
	if who, _ := w.holder(f.last()); who != "" {
		w.wrong("I1", w.excuse(f), "%s presents %s while %s holds its live successor %s", p.name(), w.name(c.refresh), who, w.name(f.last().refresh))
	}
}

// committed enters what the server decided. w.mu is held.
func (w *world) committed(x *exchange, m *mxmtest.Exchange) {
	now := time.Now()
	ok := m.Request.Outcome == mxmtest.OK
	var got struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	_ = json.Unmarshal(m.Response.Body, &got)
	switch {
	case x.kind == "code" && ok:
		u := w.byID[m.Request.UserID]
		x.issued = w.newCoin(w.newFamily(m.Request.Family, u), got.Refresh, got.Access, x.sent)
		w.log(x.p, "server: %s logs in: %s", u.name(), w.name(got.Refresh))
	case x.kind == "refresh":
		c := w.coins[x.refresh]
		if c == nil {
			return
		}
		f := c.family
		w.log(x.p, "server: %s is presented: %s", w.name(x.refresh), m.Request.Outcome)
		if !ok {
			if w.profile.quiet {
				w.wrong("I6", "", "%s is answered %s without a fault", w.name(x.refresh), m.Request.Outcome)
			}
			if m.Request.Spent && m.Request.Outcome == "invalid_grant" && w.revokes && !f.destroyed {
				w.destroy(f, x, now)
			}
			return
		}
		w.count("rotations")
		left := c.expires.Sub(now)
		if due := min(2*w.lease, max(w.life, 30*time.Second)/5)*5/4 + time.Second; w.profile.quiet && left > due {
			excuse := ""
			if w.skewed && !x.heard {
				excuse = "its clock is wrong, and it has heard nothing of the server's yet"
			}
			w.wrong("I6", excuse, "%s is spent with %s left to live", w.name(x.refresh), left)
		}
		fresh := w.access[got.Access] == nil
		w.access[got.Access] = f
		if w.killUser && !f.user.has(f) {
			for _, other := range w.families {
				if other.user == f.user && other != f {
					other.shadowed = now
				}
			}
		}
		switch known := w.coins[got.Refresh]; {
		case got.Refresh == "": // not rotated
			c.expires = now.Add(w.life)
			x.issued = c
		case known != nil: // grace
			x.issued = known
			if fresh {
				known.expires = now.Add(w.life)
			}
		default:
			c.spent = true
			x.issued = w.newCoin(f, got.Refresh, got.Access, x.sent)
		}
	}
}

// destroy is the answer to a replay by a server that revokes. w.mu is held.
func (w *world) destroy(f *family, x *exchange, now time.Time) {
	f.destroyed = true
	who, _ := w.holder(f.last())
	if who == "" {
		f.cause = w.unheld(f.last())
		w.log(x.p, "server: family f%d is revoked, nobody held it: %s", f.id, f.cause)
		return
	}
	excuse := w.excuse(f)
	if now.Sub(x.sent) > w.lease {
		excuse = "a request landed more than a lease after it was sent"
	}
	f.cause = excuse
	w.wrong("I2", excuse, "family f%d is revoked by %s of %s while %s holds %s", f.id, w.name(x.refresh), x.p.name(), who, w.name(f.last().refresh))
}

// unheld says why nobody has the last tokens of a family.
func (w *world) unheld(c *coin) string {
	if c.thrown != "" {
		w.wrong("I3", "", "%s has thrown the answer with %s away", c.thrown, w.name(c.refresh))
	}
	if len(c.holders) == 0 {
		return "the answer reached nobody"
	}
	return "crashed before it could write"
}

// excuse names the fault that makes harm to the family inevitable, if there was one.
func (w *world) excuse(f *family) string {
	c := f.last()
	if f.user.lostSince(f) {
		return "the store lost a write"
	}
	var before *coin
	if len(f.coins) > 1 {
		before = f.coins[len(f.coins)-2]
	}
	late := time.Since(c.sent) > 4*w.lease && !w.couldWrite(c)
	blind := w.blind || before != nil && (before.odd || !time.Now().Before(before.expires))
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
		if !p.dead && time.Since(c.received)-idle > w.lease {
			return true
		}
	}
	return false
}

// delivered is asked when a process has read b of an answer. w.mu is held.
func (w *world) delivered(x *exchange, p *process, b []byte) {
	if x.kind != "api" {
		p.heard = true
	}
	if x.kind == "look" && !x.lie {
		w.lies[x.look] = false
	}
	if x.issued != nil && bytes.Contains(b, []byte(x.issued.refresh+`"`)) {
		x.issued.holders = append(x.issued.holders, p)
		x.issued.received = time.Now()
		w.log(p, "receives %s", w.name(x.issued.refresh))
	}
}

// user is one user and what the judge remembers of the grant.
type user struct {
	index  int
	id     string
	slot   *slot
	grants map[string]*grantBook
	newest string // grant ID

	liveSince     time.Time // when the stored grant last became live
	events, marks int
	lost          []time.Time // when the store forgot something
	vanished      bool

	disconnected time.Time // when the last acknowledged Disconnect began
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

func (u *user) name() string { return fmt.Sprintf("u%d", u.index) }

func (u *user) storeLost(at time.Time, vanished bool) {
	u.lost = append(u.lost, at)
	u.vanished = u.vanished || vanished
}

func (u *user) lostSince(*family) bool { return len(u.lost) > 0 }

// written looks at what has become of a user's record. w.mu is held.
func (w *world) written(p *process, sl *slot, before, next content) {
	u := sl.user
	now := time.Now()
	excuse := ""
	if sl.lost {
		excuse = "the store lost a write"
	}
	if next.Sub != u.id {
		w.wrong("I7", "", "the record of %s holds the grant of %s", u.name(), next.Sub)
		return
	}
	if next.Gen < before.Gen {
		w.wrong("I4", "", "gen of %s goes back from %d to %d", u.name(), before.Gen, next.Gen)
	}
	if next.Intent != nil && w.intents[next.Intent.ID] == nil {
		w.intents[next.Intent.ID] = p
	}
	g := u.grants[next.GrantID]
	c := w.coins[next.Refresh]
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
		w.wrong("I4", excuse, "%s writes an old grant of %s over a new login", p.name(), u.name())
	}
	if g.ended && next.Status != "disconnected" {
		w.wrong("I4", excuse, "%s brings a disconnected grant of %s back", p.name(), u.name())
	}
	switch next.Status {
	case "live":
		if b := w.coins[before.Refresh]; b != nil && c != nil && b.family == c.family && c.spent && !b.spent && !b.family.destroyed {
			w.wrong("I3", excuse, "%s writes the spent %s over the live %s", p.name(), w.name(c.refresh), w.name(b.refresh))
		}
		if before.Status != "live" {
			u.liveSince = now
		}
		switch {
		case c == nil && next.Refresh != "":
			w.wrong("I7", "", "the record of %s holds an unknown refresh token", u.name())
		case c != nil && (c.family != g.family || c.family.user != u):
			w.wrong("I7", "", "the record of %s mixes families: %s", u.name(), w.name(next.Refresh))
		case next.Access != "" && w.access[next.Access] != g.family:
			w.wrong("I7", "", "the record of %s mixes families", u.name())
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
