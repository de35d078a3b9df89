package simulation_test

import (
	"fmt"
	"strings"
	"time"
)

// policy is how the authorization server behaves where the contract leaves room.
type policy struct {
	life                time.Duration // of an access token
	revokes             bool          // a replay ends the family
	grace               time.Duration // for so long a replay gets the same answer again
	loserInvalidRequest bool          // as an answer to the loser of two simultaneous refreshes
	killUser, killNone  bool          // a refresh kills the access tokens of all logins of the user; of none
	noRotation, noDate  bool
	skew                time.Duration // of its clock
	singleLogin         bool          // a login ends the earlier ones of the user
	revocation          bool          // there is a revocation endpoint
	birthLag, deathLag  time.Duration // of token-metadata
	apiBirth, apiDeath  time.Duration // of the API
	definite            bool          // what it refuses for hours it refuses for good
}

// family is one login at the server.
type family struct {
	id      int
	user    *user
	coins   []*coin
	living  []*access
	spentAt time.Time
	early   int // refreshes in a row of a token that lived and was not due

	destroyed bool
	cause     string    // of the destruction
	shadowed  time.Time // when a refresh elsewhere last killed its access tokens
}

// coin is one refresh token, and what became of it.
type coin struct {
	family    *family
	n         int
	refresh   string
	access    string    // the newest that came with it
	expires   time.Time // of that access token, naturally
	sent      time.Time // when the request was sent that issued it
	committed time.Time // when the server issued it
	spent     bool
	odd       bool     // the client may think that the access token lives shorter
	short     bool     // an answer gave the access token less than 30 seconds
	thrown    *process // who closed the connection before the answer, for no reason
	presented int
	refused   int           // by a server that refuses for hours
	holders   []*process    // who received it
	received  time.Time     // when one of them last did
	took      time.Duration // how long it was on its way, at most
	storedAt  time.Time     // when the store had it, if it ever did
}

// String is how a trace calls a refresh token.
func (c *coin) String() string {
	if c == nil {
		return "-"
	}
	return fmt.Sprintf("u%d.f%d.r%d", c.family.user.index, c.family.id, c.n)
}

// access is one access token.
type access struct {
	family                  *family
	value                   string
	issued, expires, killed time.Time
}

func (a *access) live(now time.Time) bool { return a.killed.IsZero() && now.Before(a.expires) }

// known reports whether somebody who hears of births and deaths late holds a for alive.
func (a *access) known(now time.Time, birth, death time.Duration) bool {
	return a != nil && now.Sub(a.issued) >= birth && now.Before(a.expires) && (a.killed.IsZero() || now.Sub(a.killed) < death)
}

func (f *family) last() *coin { return f.coins[len(f.coins)-1] }

func (f *family) kill(now time.Time) {
	for _, a := range f.living {
		if a.live(now) {
			a.killed = now
		}
	}
	f.living = f.living[:0]
}

func (f *family) destroy(now time.Time, cause string) {
	f.kill(now)
	if !f.destroyed {
		f.destroyed, f.cause = true, cause
	}
}

func (w *world) setUpServer(d *dice) {
	settings := []string{}
	w.life = pick(d, 45*time.Second, 90*time.Second, 225*time.Second, 300*time.Second, 450*time.Second, 600*time.Second, 600*time.Second, 900*time.Second)
	if w.profile.timeouts {
		w.life = pick(d, 450*time.Second, 600*time.Second, 900*time.Second) // the oracle sees for long enough
	}
	settings = append(settings, w.life.String())
	w.revokes = true
	switch d.n(4) {
	case 0:
		w.revokes = false
		settings = append(settings, "plain")
	case 1:
		w.grace = pick(d, 30*time.Second, 2*time.Minute, 10*time.Minute)
		settings = append(settings, "grace "+w.grace.String())
	}
	if w.profile.grace {
		w.grace = 10 * time.Minute
	}
	w.loserInvalidRequest = d.chance(0.3)
	if d.chance(0.15) || w.profile.killUser {
		w.killUser = true
		settings = append(settings, "kills per user")
	} else if d.chance(0.06) {
		w.blind, w.killNone = true, true
		settings = append(settings, "kills none")
	}
	if d.chance(0.06) {
		w.blind, w.noRotation = true, true
		settings = append(settings, "does not rotate")
	}
	if d.chance(0.06) {
		w.blind, w.noDate = true, true
		settings = append(settings, "sends no Date")
	}
	if d.chance(0.4) && w.profile.clock {
		w.skew = pick(d, -time.Hour, time.Hour, -7*time.Minute, 100*24*time.Hour)
		settings = append(settings, "skew "+w.skew.String())
	}
	w.singleLogin = d.chance(0.3)
	w.revocation = d.chance(0.3)
	w.definite = w.roll("definite").chance(0.5)
	w.note(nil, "", "server: %s", strings.Join(settings, ", "))
}

// setLags makes token-metadata late. It begins after the first logins, which
// would fail.
func (w *world) setLags(d *dice) {
	if w.profile.quiet {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if d.chance(0.2) {
		w.deathLag = d.between(0, 10*time.Second)
	}
	if d.chance(0.1) {
		w.birthLag = d.between(0, 3*time.Second)
	}
	if w.profile.lag {
		most := min(time.Minute, w.life/3)
		w.birthLag, w.deathLag = d.between(0, most), d.between(0, 14*time.Second)
		w.apiBirth, w.apiDeath = d.between(0, most), d.between(0, most)
	}
	for _, a := range w.access {
		a.issued = a.issued.Add(-w.birthLag - w.apiBirth) // what is known stays so
	}
	w.log(nil, "token-metadata lags: birth %s, death %s", w.birthLag, w.deathLag)
}

// date is the Date header of an answer made now.
func (w *world) date() (t time.Time, said bool) {
	return time.Now().Add(w.skew).Truncate(time.Second).UTC(), !w.noDate
}

// signIn is a login at the server. w.mu is held.
func (w *world) signIn(u *user, p *process, sent time.Time) *coin {
	now := time.Now()
	if w.singleLogin {
		for _, f := range u.families {
			f.destroy(now, "replaced by a login")
		}
	}
	w.families++
	f := &family{id: w.families, user: u}
	u.families = append(u.families, f)
	c := w.mint(f, sent)
	w.log(p, "server: u%d logs in: %s", u.index, c)
	return c
}

// mint issues a pair. w.mu is held.
func (w *world) mint(f *family, sent time.Time) *coin {
	c := &coin{family: f, n: len(f.coins) + 1, sent: sent, committed: time.Now()}
	c.refresh = fmt.Sprintf("rt.%d.%d", f.id, c.n)
	f.coins = append(f.coins, c)
	f.spentAt = time.Now()
	w.coins[c.refresh] = c
	w.issueAccess(c)
	return c
}

func (w *world) issueAccess(c *coin) {
	now := time.Now()
	w.accesses++
	a := &access{family: c.family, value: fmt.Sprintf("at.%d.%d", c.family.id, w.accesses), issued: now, expires: now.Add(w.life)}
	c.access, c.expires = a.value, a.expires
	c.family.living = append(c.family.living, a)
	w.access[a.value] = a
}

// refresh is RFC 6749 section 6, with the contract's rotation: the presented
// token and all related access tokens die. code is empty, or the error. w.mu is held.
func (w *world) refresh(x *exchange) (issued *coin, code string) {
	now, c := time.Now(), x.coin
	spent := c != nil && c.spent
	switch {
	case c == nil || c.family.destroyed:
		code = "invalid_grant"
	case spent && !x.spentOnArrival && w.loserInvalidRequest:
		code = "invalid_request"
	case spent && c.n == len(c.family.coins)-1 && now.Sub(c.family.spentAt) < w.grace:
		issued = c.family.last()
		if !w.access[issued.access].live(now) {
			w.issueAccess(issued)
		}
	case spent:
		code = "invalid_grant"
		if w.revokes {
			w.replayed(c.family, x)
		}
	default:
		w.judgeRotation(x, now)
		f := c.family
		if w.killUser {
			for _, other := range f.user.families {
				other.kill(now)
				if other != f && !f.user.has(f) {
					other.shadowed = now
				}
			}
		} else if !w.killNone {
			f.kill(now)
		}
		if issued = c; w.noRotation {
			w.issueAccess(c)
		} else {
			c.spent = true
			issued = w.mint(f, x.sent)
		}
	}
	w.log(x.p, "server: %s is presented: %s %s", c, code, issued)
	if code == "" {
		w.count("rotations")
	} else if w.profile.quiet {
		w.wrong("I6", "", "%s is answered %s without a fault", c, code)
	}
	return issued, code
}
