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

// slowestDial is how long a slow connection may take.
func (p profile) slowestDial() time.Duration { return 8 * time.Second }
