package grant

import (
	"maps"
	"time"
)

// intent announces, before a refresh token is spent, that it is about to be.
// It fences the other instances, proves that the store can be written before
// the token is gone, and tells a successor that the outcome is in doubt.
type intent struct {
	ID      string        `json:"id"`              // random, new for every POST
	Attempt int           `json:"attempt"`         // counts on through takeovers
	Lease   time.Duration `json:"lease,omitempty"` // of its writer: how long others leave it alone
	Started time.Time     `json:"started"`         // for people who read a record; never compared
	Owner   string        `json:"owner"`           // likewise: after a crash the name may be the same and the process another
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

// attempts is what this process knows about the refreshes it began at one generation.
type attempts struct {
	generation int64
	own        map[string]*ownIntent
	wrote      time.Duration   // when our last intent was written
	ended      time.Duration   // when our last POST ended: answered, or given up
	marks      map[string]bool // versions of marks whose writes seemed to fail, and may take place yet
	replayed   bool            // the one replay that a holder has on "inactive" is used up
}

// at makes d what is known about generation; what was known about another is void.
func (d *attempts) at(generation int64) {
	if d.generation != generation {
		*d = attempts{generation: generation}
	}
}

func (d *attempts) wroteMark(version string) {
	if d.marks == nil {
		d.marks = map[string]bool{}
	}
	d.marks[version] = true
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

// watch is what this process has seen of others' refreshes at one generation.
// All times are its own.
type watch struct {
	generation  int64
	seen        time.Duration // when this process first saw the generation
	id          string        // the foreign intent that is watched
	since       time.Duration // when it was first seen here
	inactive    time.Duration // the first of an unbroken row of inactive probes; 0: none
	provenSpent bool          // two of them were far enough apart
	dead        bool          // the API rejected the access token, and token-metadata agreed
}

func (w *watch) at(generation int64, seen time.Duration) {
	if w.generation != generation || w.seen == 0 {
		*w = watch{generation: generation, seen: seen}
	}
}

// foreign returns how long the intent id has been watched.
func (w *watch) foreign(id string, now time.Duration) time.Duration {
	if w.id != id {
		w.id, w.since = id, now
	}
	return now - w.since
}

// probed remembers what a probe said, for the time when nothing can be found out.
func (w *watch) probed(v verdict, now, apart time.Duration) {
	switch {
	case v == active:
		w.inactive, w.provenSpent, w.dead = 0, false, false
	case v == inactive && w.inactive == 0:
		w.inactive = now
	case v == inactive && now-w.inactive >= apart:
		w.provenSpent = true
	}
}
