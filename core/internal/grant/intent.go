package grant

import (
	"maps"
	"time"
)

// intent announces, before a refresh token is spent, that it is about to be.
// It fences the other instances, proves that the store can be written before
// the token is gone, and tells a successor that the outcome is in doubt.
type intent struct {
	ID      string    `json:"id"`      // random, new for every POST
	Attempt int       `json:"attempt"` // counts on through takeovers
	Started time.Time `json:"started"` // for people who read a record; never compared
	Owner   string    `json:"owner"`   // likewise: after a crash the name may be the same and the process another
}

// maxAttempts bounds the rate of attempts, never their outcome.
const maxAttempts = 3

// ownIntent is an intent that this process wrote, or may have written: a write
// that failed can take place all the same.
type ownIntent struct {
	attempt  int
	tookOver bool // written over the intent of another process
	sent     bool // a byte of its POST may have reached the server
}

// maxOwnIntents bounds what a store that cannot write, or a server that never
// answers, makes us remember. An intent that is forgotten counts as foreign,
// which is slow and safe.
const maxOwnIntents = 32

// doubt is what this process knows about the refreshes it began at one gen.
type attempts struct {
	generation int64
	own        map[string]*ownIntent
	wrote      time.Time // when our last intent was written
	replayed   bool      // the one replay that a holder has on "inactive" is used up
}

// at makes d the doubt about gen; what was known about another gen is void.
func (d *attempts) at(generation int64) {
	if d.generation != generation {
		*d = attempts{generation: generation}
	}
}

// add takes note of an intent that is about to be written over stored.
func (d *attempts) add(in, stored *intent, tookOver bool) *ownIntent {
	if d.own == nil {
		d.own = map[string]*ownIntent{}
	}
	if len(d.own) >= maxOwnIntents {
		maps.DeleteFunc(d.own, func(id string, _ *ownIntent) bool { return stored == nil || id != stored.ID })
	}
	own := &ownIntent{attempt: in.Attempt, tookOver: tookOver}
	d.own[in.ID] = own
	return own
}

// of returns what is known about in, or nil if another process wrote it.
func (d *attempts) of(in *intent) *ownIntent {
	if in == nil {
		return nil
	}
	return d.own[in.ID]
}

// watch is what this process has seen of others' refreshes at one gen. All
// times are its own: no clock is compared across machines.
type watch struct {
	generation  int64
	seen        time.Time // when this process first saw gen
	id          string    // the foreign intent that is watched
	since       time.Time // when it was first seen here
	inactive    time.Time // the first of an unbroken row of inactive looks
	provenSpent bool      // two of them were a settle apart
	dead        bool      // the API rejected gen's access token, and the oracle agreed
}

func (w *watch) at(generation int64) {
	if w.generation != generation {
		*w = watch{generation: generation, seen: time.Now()}
	}
}

// foreign returns how long the intent id has been watched.
func (w *watch) foreign(id string) time.Duration {
	if w.id != id {
		w.id, w.since = id, time.Now()
	}
	return time.Since(w.since)
}

// looked remembers what the oracle said, for the time when it is blind.
func (w *watch) probed(v verdict, confirmWait time.Duration) {
	switch {
	case v == active:
		w.inactive, w.provenSpent, w.dead = time.Time{}, false, false
	case v == inactive && w.inactive.IsZero():
		w.inactive = time.Now()
	case v == inactive && time.Since(w.inactive) >= confirmWait:
		w.provenSpent = true
	}
}
