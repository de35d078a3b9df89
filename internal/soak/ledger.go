//go:build unix

package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// ledger is what happened, by the books of Musixmatch, by what was done to
// processes and to the store, and by what users saw. Nothing in it comes from
// the library.
type ledger struct {
	began          time.Time
	refreshTimeout time.Duration
	idleTimeout    time.Duration

	mu        sync.Mutex
	lives     map[string]*incarnation
	accounts  map[string]*account
	families  map[int]*family
	exchanges map[string]*exchange // under way at the token endpoint
	spans     []*span              // of faults
	events    timeline             // of processes and of the store
	counts    map[string]int
	losses    []loss
	outside   []string // requests that failed outside of every span
	wrongs    []string // whatever else must not happen

	refreshes int    // when so many were carried out, call
	enough    func() // this
}

// incarnation is one process of an instance, from its start to its end.
type incarnation struct {
	name   string // "2.3" is the third of the second instance
	index  int
	killed time.Time
	pauses []stoppage
}

type stoppage struct{ from, to time.Time } // to is zero while it lasts

// account is a user.
type account struct {
	id       string
	newest   *family
	used     *family // the login whose tokens an instance has used last
	timeline timeline
	flying   map[int]int       // requests under way, by instance
	left     map[int]time.Time // when one was last abandoned there
	seen     time.Time         // when the newest request began that was served in the session
	rest     time.Duration     // from that to the one that found no session
}

// family is one login, with all tokens that came from it.
type family struct {
	id      int
	account *account
	refresh int           // refresh tokens so far
	expires time.Time     // of the access token, by the earliest time at which it can have been issued
	last    *rotation     // nil: nobody has refreshed yet
	revoked *presentation // of a spent token; nil: it lives
	judged  bool
}

// rotation is a refresh that Musixmatch carried out.
type rotation struct {
	by                  *incarnation
	arrived, carriedOut time.Time
	took                time.Duration // until the answer was on its way, or could not be; 0: neither yet
	fate                fate
	fault               tokenFault
	tokens              tokens
	oldExpires          time.Time // of the access token that it killed
	stored              string    // who has shown that the tokens were stored, and how; "": nobody
	storedAt            time.Time
	read                bool // the tokens have been used
}

// presentation is that of a spent token, which ends a login, and what explains
// it at that moment.
type presentation struct {
	by    *incarnation
	at    time.Time
	cause string
	floor bool
}

// fate is what became of an answer.
type fate string

const (
	underWay fate = "under way"
	sent     fate = "answered"
	dropped  fate = "answer lost by a fault"
	gone     fate = "nobody there for the answer"
)

// exchange is a request at the token endpoint.
type exchange struct {
	by       *incarnation
	family   *family
	arrived  time.Time
	fault    tokenFault
	decided  bool      // Musixmatch has seen it
	rotation *rotation // what it came to, if it was carried out
}

func newLedger(refreshTimeout, idleTimeout time.Duration) *ledger {
	return &ledger{
		began: time.Now(), refreshTimeout: refreshTimeout, idleTimeout: idleTimeout,
		lives: map[string]*incarnation{}, accounts: map[string]*account{}, families: map[int]*family{},
		exchanges: map[string]*exchange{}, counts: map[string]int{},
	}
}

func (l *ledger) lease() time.Duration { return l.refreshTimeout * 3 / 2 }

// account returns the books of a user. l.mu is held.
func (l *ledger) account(userID string) *account {
	a := l.accounts[userID]
	if a == nil {
		a = &account{id: userID, flying: map[int]int{}, left: map[int]time.Time{}}
		l.accounts[userID] = a
	}
	return a
}

// arrived enters a request at the token endpoint.
func (l *ledger) arrived(r mxmtest.Request, f tokenFault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.GrantType != "refresh_token" {
		return
	}
	x := &exchange{by: l.lives[r.Header.Get(byHeader)], family: l.families[r.Family], arrived: time.Now(), fault: f}
	l.exchanges[r.Header.Get(idHeader)] = x
	l.counts["refresh requests"]++
	if f.kind != "" {
		l.counts["fault "+string(f.kind)]++
	}
	if x.family == nil {
		l.wrong("%s presents a refresh token that Musixmatch never issued", x.by.name)
		return
	}
	older, spent := "", ""
	if r.Spent {
		older, spent = "<", ", which is spent"
	} else if last := x.family.last; last != nil {
		l.used(last)
		l.proves(last, x.by.name+" presents the refresh token") // and an intent goes before it
	}
	l.note(x.family.account, "%s presents f%d r%s%d%s", x.by.name, x.family.id, older, x.family.refresh, spent)
	if f.kind != "" {
		l.note(x.family.account, "  fault: %s", f.what)
		at := nobodys
		if f.kind == fail {
			at = x.by.index // it may be told to wait, with all that it asks
		}
		l.spanOf(f.kind, at, x.family.account)
	}
}

// carriedOut enters what Musixmatch decided.
func (l *ledger) carriedOut(r mxmtest.Request, t tokens) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	life := time.Duration(t.ExpiresIn) * time.Second
	if r.GrantType == "authorization_code" {
		if r.Outcome == mxmtest.OK {
			a := l.account(r.UserID)
			a.newest = &family{id: r.Family, account: a, refresh: 1, expires: now.Add(life)}
			l.families[r.Family] = a.newest
			l.counts["logins at Musixmatch"]++
			l.note(a, "%s logs in: f%d", r.Header.Get(byHeader), r.Family)
		}
		return
	}
	x := l.exchanges[r.Header.Get(idHeader)]
	if x == nil || x.family == nil {
		return
	}
	x.decided = true
	f := x.family
	l.note(f.account, "  Musixmatch: %s", r.Outcome)
	l.uses(f)
	if r.Spent {
		if f.revoked == nil {
			// What came to light while it was under way could not stop it any more.
			f.revoked = &presentation{by: x.by, at: x.arrived}
			f.revoked.cause, f.revoked.floor = l.why(f, x.arrived)
		}
		if cause, floor := l.cause(f, now); floor {
			l.counts["spent: "+cause]++
		} else {
			l.counts["spent: "+nothing]++
		}
	}
	if r.Outcome != mxmtest.OK {
		l.counts["refused: "+r.Outcome]++
		return
	}
	l.counts["rotations"]++
	f.refresh++
	x.rotation = &rotation{
		by: x.by, arrived: x.arrived, carriedOut: now, fate: underWay, fault: x.fault,
		tokens: t, oldExpires: f.expires,
	}
	f.last, f.expires = x.rotation, x.arrived.Add(life)
	if l.counts["rotations"] == l.refreshes {
		l.enough()
	}
}

// late reports whether the answer comes, or came, when the time for a refresh was
// over. l.mu is held.
func (l *ledger) late(r *rotation, now time.Time) bool {
	return r.answeredBy(now).Sub(r.arrived) >= l.refreshTimeout
}

// answeredBy is when the answer was on its way, or now if it is not yet.
func (r *rotation) answeredBy(now time.Time) time.Time {
	if r.took == 0 {
		return now
	}
	return r.arrived.Add(r.took)
}

// used enters that somebody has the tokens of a refresh. l.mu is held.
func (l *ledger) used(r *rotation) {
	if !r.read && r.took > 0 && l.late(r, time.Now()) {
		l.counts["late answers read"]++
	}
	r.read = true
}

// proves enters what shows that the tokens of a refresh were stored. l.mu is held.
func (l *ledger) proves(r *rotation, how string) {
	if r.stored == "" {
		r.stored, r.storedAt = how, time.Now()
	}
}

// answered enters what became of the answer: whether it was written as a whole,
// and whether the client had closed the connection before.
func (l *ledger) answered(id string, whole, clientGone bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.exchanges[id]
	if x == nil {
		return
	}
	delete(l.exchanges, id)
	if !x.decided {
		l.counts["not carried out"]++
	}
	r := x.rotation
	if r == nil {
		return
	}
	r.took = time.Since(r.arrived)
	if !r.fault.loses && l.late(r, time.Now()) {
		l.counts["late answers"]++
		if l.tells(r) {
			l.counts["late answers that token-metadata could tell of"]++
		}
	}
	switch {
	case r.fault.loses:
		r.fate = dropped
		l.counts["answers lost by a fault"]++
	case clientGone || !whole:
		r.fate = gone
		l.counts["answers for which nobody was there"]++
	default:
		r.fate = sent
		l.counts["answers sent"]++
	}
	l.note(x.family.account, "  %s after %s: f%d r%d", r.fate, r.took.Round(time.Millisecond), x.family.id, x.family.refresh)
}

// called enters a call of the API. A token that another process got proves that
// it was stored.
func (l *ledger) called(r mxmtest.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts["API calls"]++
	f := l.families[r.Family]
	if f == nil {
		return
	}
	l.uses(f)
	if f.last == nil || r.Token != f.last.tokens.Access {
		return
	}
	l.used(f.last)
	if by := r.Header.Get(byHeader); f.last.stored == "" && by != f.last.by.name {
		l.proves(f.last, by+" calls the API with the access token")
		l.note(f.account, "%s calls the API with the tokens that %s got", by, f.last.by.name)
	}
}

// uses takes note that a login is in use. It need not be the newest: of two that
// overlapped, the one that was stored last counts. l.mu is held.
func (l *ledger) uses(f *family) { f.account.used = f }

// signedIn enters that a user saw a sign-in succeed.
func (l *ledger) signedIn(userID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.account(userID)
	l.counts["sign-ins"]++
	l.note(a, "is signed in")
	if a.newest != nil {
		l.uses(a.newest)
	}
}

// wrong enters what must not happen. l.mu is held.
func (l *ledger) wrong(format string, args ...any) {
	l.counts["wrong"]++
	if len(l.wrongs) < 20 {
		l.wrongs = append(l.wrongs, fmt.Sprintf("%s %s", l.clock(time.Now()), fmt.Sprintf(format, args...)))
	}
}

// count adds to a row.
func (l *ledger) count(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[what]++
}

// say enters something into the timeline of a user.
func (l *ledger) say(userID, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.note(l.account(userID), format, args...)
}

func (l *ledger) note(a *account, format string, args ...any) {
	a.timeline.add(time.Now(), fmt.Sprintf(format, args...))
}

// clock is how a time is printed.
func (l *ledger) clock(t time.Time) string { return fmt.Sprintf("%8.3f", t.Sub(l.began).Seconds()) }

// timeline keeps the newest entries.
type timeline []entry

type entry struct {
	at   time.Time
	text string
}

const keptEntries = 80

func (t *timeline) add(at time.Time, text string) {
	if len(*t) >= keptEntries {
		*t = append((*t)[:0], (*t)[keptEntries/4:]...)
	}
	*t = append(*t, entry{at, text})
}
