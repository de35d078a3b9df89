//go:build unix

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// loss is a user who must connect again, or sign in again.
type loss struct {
	what     string
	userID   string
	floor    bool
	cause    string
	timeline string // above the floor
}

// mustWrite is how long a process that is awake, and has its store, may take to
// write down the tokens it got.
const mustWrite = 2 * time.Second

// dateSteps is by how much the server's clock can be misread: Date has whole
// seconds.
const dateSteps = time.Second

// Causes at the floor. Nobody can do better without a grace period at the server.
const (
	answerLost  = "an answer was lost, by a fault at the token endpoint"
	answerLate  = "an answer came later than three times the timeout of a refresh"
	lateBlind   = "an answer came late, and the old token had ended before it could tell"
	killedEarly = "a process was killed before it could write"
	pausedBlind = "a process was stopped for longer than its lease, and nothing could tell"
	cutOffBlind = "the store was away for longer than four leases, and nothing could tell"
	pausedPost  = "a process was stopped for longer than its refresh may take, in the middle of it"

	// This one is above the floor.
	lateSeen = "AN ANSWER CAME LATE, AND WAS NOT READ THOUGH TOKEN-METADATA COULD TELL THAT IT EXISTS"
	nothing  = "NOTHING THAT EXPLAINS IT"
)

// cause says why the newest tokens of a login are of no use to anybody, and
// whether that was inevitable. l.mu is held.
func (l *ledger) cause(f *family, now time.Time) (cause string, floor bool) {
	if f.revoked != nil {
		return f.revoked.cause, f.revoked.floor
	}
	return l.why(f, now)
}

func (l *ledger) why(f *family, now time.Time) (cause string, floor bool) {
	r := f.last
	if r == nil {
		return "its first refresh token was never spent", false
	}
	answered := r.answeredBy(now)
	late := l.late(r, now)
	switch {
	case r.stored != "" && !r.storedAt.After(now):
		return "its tokens had been stored: " + r.stored, false
	case r.fault.loses:
		return answerLost, true
	case !r.by.killed.IsZero() && l.awake(r.by, answered, r.by.killed) < mustWrite:
		return killedEarly, true
	case late && r.by.stopped(r.arrived, answered) > 0:
		return pausedPost, true
	case answered.Sub(r.arrived) >= 3*l.refreshTimeout:
		return answerLate, true
	case late && !l.tells(r):
		return lateBlind, true
	}
	deadline := r.arrived.Add(l.refreshTimeout)
	through := slices.ContainsFunc(r.by.pauses, func(p stoppage) bool {
		return p.from.Before(deadline) && (p.to.IsZero() || p.to.After(deadline.Add(-200*time.Millisecond)))
	})
	blind := r.oldExpires.Before(now.Add(time.Second))
	idle := l.awake(r.by, answered, now) < mustWrite
	switch {
	case through && (f.revoked == nil || f.revoked.by == r.by):
		return pausedPost, true
	case f.revoked != nil && blind && idle && r.by.stopped(r.arrived.Add(-l.lease()), now) >= l.lease():
		return pausedBlind, true
	case f.revoked != nil && blind && idle && now.Sub(r.carriedOut) >= 4*l.lease():
		return cutOffBlind, true
	case late:
		return lateSeen, false
	case f.revoked != nil:
		return fmt.Sprintf("%s presented a spent token while %s had the answer", f.revoked.by.name, r.by.name), false
	}
	return fmt.Sprintf("%s got the tokens of r%d, and they are alive at Musixmatch", r.by.name, f.refresh), false
}

// tells reports whether token-metadata can tell that a late answer exists: when
// the time for the refresh is over and the client asks, the old token has not
// ended by itself.
func (l *ledger) tells(r *rotation) bool {
	return !r.oldExpires.Before(r.arrived.Add(l.refreshTimeout + dateSteps))
}

// mustConnect judges a user who is told to connect again. It may be too early
// for that: a process may still come with the tokens. Then it is entered only
// when sure is true.
func (l *ledger) mustConnect(userID string, sure bool) (entered bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.account(userID)
	f := a.used
	if f == nil {
		l.wrong("%s is told to connect again, and never was connected", userID)
		return true
	}
	cause, floor := l.cause(f, time.Now())
	if !sure && f.revoked == nil && cause != answerLost && cause != killedEarly {
		return false
	}
	l.note(a, "must connect again")
	if !f.judged {
		f.judged = true
		l.lose(a, "must connect again", cause, floor)
	}
	return true
}

// signedOut enters a user who is not signed in any more without having signed
// out. A session ends when its user stays away; no fault makes it inevitable.
func (l *ledger) signedOut(userID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.account(userID)
	l.note(a, "is signed out, %s after the last page", a.rest.Round(time.Millisecond))
	if a.rest > l.idleTimeout-time.Second {
		l.counts["sessions that ended because the user was away"]++
		return
	}
	l.lose(a, "signed out", "nobody has signed out", false)
}

func (l *ledger) lose(a *account, what, cause string, floor bool) {
	s := loss{what: what, userID: a.id, floor: floor, cause: cause}
	if !floor {
		s.timeline = l.story(a)
	}
	l.losses = append(l.losses, s)
}

// story is the timeline of a user, with what happened around it.
func (l *ledger) story(a *account) string {
	all := slices.Clone(a.timeline)
	since := time.Now().Add(-time.Minute)
	for _, e := range l.events {
		if e.at.After(since) {
			all = append(all, entry{e.at, "* " + e.text})
		}
	}
	slices.SortStableFunc(all, func(x, y entry) int { return x.at.Compare(y.at) })
	var b strings.Builder
	for _, e := range all {
		fmt.Fprintf(&b, "    %s  %s\n", l.clock(e.at), e.text)
	}
	return b.String()
}
