//go:build unix

package main

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// What users saw.

// sending enters that a request is on its way to an instance.
func (l *ledger) sending(userID string, instance int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.account(userID)
	a.flying[instance]++
	for _, s := range l.spans[max(0, len(l.spans)-256):] {
		if s.to.IsZero() && (s.instance == instance || s.instance == everywhere) {
			s.users[a] = true
		}
	}
}

// enter enters what came of a request.
func (l *ledger) enter(userID string, instance int, path string, from time.Time, o outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	a := l.account(userID)
	a.flying[instance]--
	if o.left || o.status == 0 {
		a.left[instance] = now
	}
	path, _, _ = strings.Cut(path, "?")
	l.counts["requests"]++
	l.counts["answer "+o.class()]++
	session := path != "/job"
	if session && o.is(http.StatusUnauthorized, "not_signed_in") {
		a.rest = from.Sub(a.seen)
	}
	if o.status != 0 && o.status < 400 {
		if session && from.After(a.seen) {
			a.seen = from
		}
		if o.user != "" && o.user != userID {
			l.wrong("%s is served as %s", userID, o.user)
		}
		return
	}
	if o.left {
		return
	}
	if o.is(http.StatusUnauthorized, "reconnect") || o.is(http.StatusUnauthorized, "not_signed_in") {
		return // judged elsewhere
	}
	l.note(a, "%s at %d after %s: %s", path, instance+1, now.Sub(from).Round(time.Millisecond), o.class())
	switch {
	case l.explained(a, instance, from, now):
		l.counts["failed in a fault's time"]++
	default:
		l.counts["failed outside of every fault's time"]++
		if len(l.outside) < 5 {
			l.outside = append(l.outside, fmt.Sprintf("%s  %s: %s at %d after %s: %s\n%s",
				l.clock(now), userID, path, instance+1, now.Sub(from).Round(time.Millisecond), o.class(), l.story(a)))
		}
	}
}

// cameBack enters a session that had ended and goes on.
func (l *ledger) cameBack(userID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong("%s signed out, and the session came back", userID)
}

// stuck enters a user who is not served in the end.
func (l *ledger) stuck(userID, last string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong("%s is not served in the end: %s\n%s", userID, last, l.story(l.account(userID)))
}
