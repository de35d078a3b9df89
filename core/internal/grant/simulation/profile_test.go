package simulation_test

import "time"

// profile is the weather of a history: how likely each fault is where it can
// happen.
type profile struct {
	name  string
	quiet bool // nothing goes wrong, so nothing may be noticed
	clock bool // the server's clock may be another than ours

	crash, pause float64 // at each step
	suspend      bool    // the monotonic clock stands still meanwhile

	refuseDial, slowDial, loseRequest, refuseRequest, loseAnswer, slow, landLate float64 // of each request

	odd float64 // of each refresh: the answer is not as RFC 6749 wants it
	lie float64 // of each introspection: a live token is called inactive, once

	slowStore, failWrite, lateWrite, ambiguous, loseWrite float64 // of each call

	outages  bool // the store is down or read-only for a while, for some or for all
	churn    bool // people disconnect and log in again
	slowPOST bool // the server takes its time, and nothing else is wrong
	deploys  bool // instances are closed in good order and replaced
	killUser bool // a refresh kills the access tokens of every login of the user
	grace    bool // the server gives the answer to a replay again

	// A harsher world.
	timeouts  bool          // instances have a RefreshTimeout of 30 seconds or of two minutes
	slowest   time.Duration // that a refresh may take at the server; a third of them do take long
	dials     time.Duration // every connection takes up to so long, and after the faults, too
	clocks    bool          // wall clocks are wrong at the start, and jump
	keys      bool          // the order of the keys differs
	newKey    bool          // at first most instances do not know the key that others seal with
	formats   bool          // some instances leave out of a record what they do not know
	lag       bool          // token-metadata and the API are up to a minute late
	stuck     float64       // of each refresh: the request waits in the kernel of its sender
	answers   float64       // of each refresh: the answer comes after RefreshTimeout, and is read all the same
	throttle  bool          // at times the server answers the client 429
	conflicts bool          // at times every write conflicts
	hangs     bool          // at times every call of the store hangs
	down      bool          // the server refuses refreshes for hours, and few callers come
	leave     bool          // most callers leave soon
	reentrant bool          // who takes a report asks for the token
	noRefresh bool          // logins bring no refresh token
	strict    bool          // a lost login excuses nothing but the loss of a login

	ahead string // what the protocol does not withstand yet
}

var profiles = []profile{
	{name: "faultfree", quiet: true},
	{name: "clock", quiet: true, clock: true},
	{name: "churn", clock: true, churn: true},
	{name: "crash", clock: true, crash: 0.03},
	{name: "crashslow", clock: true, crash: 0.03, slow: 0.4},
	{name: "crashchurn", clock: true, crash: 0.03, churn: true},
	{name: "loss", clock: true, refuseDial: 0.05, slowDial: 0.05, loseRequest: 0.1, refuseRequest: 0.1, loseAnswer: 0.15, slow: 0.1, odd: 0.1, lie: 0.05},
	{name: "hopeless", clock: true, loseRequest: 0.5, slow: 0.35},
	{name: "liar", clock: true, crash: 0.02, loseRequest: 0.3, lie: 0.5},
	{name: "slow", clock: true, slowPOST: true},
	{name: "grace", clock: true, grace: true, loseAnswer: 0.2, odd: 0.1},
	{name: "lossychurn", clock: true, refuseDial: 0.05, loseRequest: 0.1, refuseRequest: 0.1, loseAnswer: 0.05, slow: 0.1, odd: 0.1, lie: 0.05, crash: 0.02, churn: true},
	{name: "killuser", clock: true, loseRequest: 0.35, slow: 0.4, crash: 0.02, churn: true, killUser: true},
	{name: "store", clock: true, slowStore: 0.01, failWrite: 0.06, lateWrite: 0.06, ambiguous: 0.08, outages: true, churn: true},
	{name: "storecrash", clock: true, slowStore: 0.01, failWrite: 0.05, lateWrite: 0.05, ambiguous: 0.06, crash: 0.02, loseRequest: 0.1, outages: true},
	{name: "regression", clock: true, loseWrite: 0.08, loseRequest: 0.05, crash: 0.005, churn: true},
	{name: "pause", clock: true, pause: 0.05, loseRequest: 0.05},
	{name: "deploy", clock: true, loseRequest: 0.1, loseAnswer: 0.05, deploys: true},
	{name: "pausegrace", clock: true, pause: 0.06, grace: true},
	{name: "stall", clock: true, pause: 0.06, loseRequest: 0.4},
	{name: "pausechurn", clock: true, pause: 0.05, churn: true},
	{name: "late", clock: true, landLate: 0.15, loseAnswer: 0.05},
	{name: "timeouts", clock: true, timeouts: true, slowest: 100 * time.Second},
	{name: "latedate", clock: true, slow: 0.6, crash: 0.05, loseRequest: 0.4},
	{name: "dials", clock: true, dials: 9 * time.Second},
	{name: "farserver", clock: true, slowDial: 0.5, loseRequest: 0.1, crash: 0.01},
	{name: "clocks", clock: true, clocks: true},
	{name: "suspend", pause: 0.03, suspend: true, clocks: true},
	{name: "keys", clock: true, keys: true, deploys: true, churn: true, loseRequest: 0.1},
	{name: "newkey", clock: true, newKey: true, slowPOST: true, churn: true},
	{name: "formats", clock: true, formats: true, deploys: true, crash: 0.02, loseRequest: 0.1, churn: true},
	{name: "lag", clock: true, lag: true, churn: true},
	{name: "lostlogin", clock: true, loseWrite: 0.15, churn: true, strict: true},
	{name: "stuck", clock: true, stuck: 0.4, leave: true},
	{name: "answers", clock: true, answers: 0.3},
	{name: "throttle", clock: true, throttle: true},
	{name: "conflicts", clock: true, conflicts: true, churn: true},
	{name: "hangs", clock: true, hangs: true},
	{name: "down", clock: true, down: true},
	{name: "leave", clock: true, leave: true, loseRequest: 0.1, loseAnswer: 0.05, slow: 0.1},
	{name: "reentrant", clock: true, loseRequest: 0.1, refuseRequest: 0.2, reentrant: true},
	{name: "norefresh", clock: true, noRefresh: true, lie: 0.5},
	{name: "storm", clock: true, timeouts: true, slowest: 25 * time.Second, clocks: true, keys: true, formats: true, stuck: 0.03, answers: 0.05, slow: 0.1, crash: 0.01,
		pause: 0.01, suspend: true, slowDial: 0.1, loseRequest: 0.05, loseAnswer: 0.03, failWrite: 0.03, lateWrite: 0.03, ambiguous: 0.03, churn: true},
	{name: "mixed", clock: true, crash: 0.01, pause: 0.02, refuseDial: 0.03, slowDial: 0.03, loseRequest: 0.06, refuseRequest: 0.06, loseAnswer: 0.06, slow: 0.05, odd: 0.05, lie: 0.02,
		landLate: 0.02, slowStore: 0.01, failWrite: 0.04, lateWrite: 0.04, ambiguous: 0.05, loseWrite: 0.01, outages: true, churn: true},
}

func profileNamed(name string) (profile, bool) {
	for _, p := range profiles {
		if p.name == name {
			return p, true
		}
	}
	return profile{}, false
}

// waits names what is known about a failure.
func (p profile) waits() string {
	if p.ahead == "" {
		return ""
	}
	return " (known: " + p.ahead + ")"
}

// churnRate is how likely it is that somebody logs in or disconnects instead of
// calling.
func (p profile) churnRate() float64 {
	if p.strict || p.newKey {
		return 0.2
	}
	return 0.04
}
