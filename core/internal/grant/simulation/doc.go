// Package simulation runs the refresh protocol, the real code of package grant,
// through thousands of histories that production would take years to show, on
// virtual time and from a printed seed. It holds tests only.
//
// One history is a few instances of an application, one or two users, an
// authorization server with one of the policies that the contract leaves open,
// and a shared store. Package grant knows both by an interface, so nothing here
// speaks HTTP. Every call of the store and every act of the network is a
// numbered step of its instance, at which the seed may stop the instance for
// good or for minutes, lose the request or the answer, delay it, or let a write
// fail, land late or vanish. Then the faults stop, and what is left is judged by
// the server's books and the content of the store; what the client says about
// itself is believed only where it says it to its callers.
//
//	I1  no spent refresh token is presented while its live successor is held
//	I2  no family is destroyed while one of its live tokens is held
//	I3  no grant ends as reconnect outside the floor
//	I4  what was disconnected stays so; an old grant never replaces a new login
//	I5  every caller is answered in time, and every grant comes to an end: live and
//	    stored, or reconnect
//	I6  without faults: one POST per expiry, not before it is due, and no error
//	I7  a record and an answer never mix users or families
//	I8  one report of a loss for each mark; no goroutine left after Close
//	I9  nobody is handed a token past its end, and no loop that a server or a store
//	    can drive runs without bounds
//
// Held means: a process that has received the token has not crashed, or the
// store has it. The floor is what nobody could have helped: the answer of the
// refresh reached no process; all that it reached crashed before they could
// write it; a holder was stopped for more than four leases with the old access
// token expired; a request reached the server more than a lease after it was
// sent; the store lost what it had acknowledged. Three servers that are not what
// the contract says cost a grant, too: one that does not rotate, before anybody
// has seen that; one that leaves old access tokens alive, before calibration;
// one where the refresh of another login, elsewhere, kills ours.
//
// Some profiles are harsher: instances differ in RefreshTimeout, keys and
// release, clocks are wrong, jump or stand still, answers come after
// RefreshTimeout, servers refuse for hours, stores hang. A profile that the
// protocol does not withstand yet says what is missing, and runs only when it is
// asked for.
//
// Not simulated: what package musixmatch does, such as TLS and the reading of
// odd answers, and the application's own transport.
//
//	go test ./core/internal/grant/simulation                                     a share of it
//	go test ./core/internal/grant/simulation -sim.seeds 100000                   more of it
//	go test ./core/internal/grant/simulation -sim.profile crash -sim.seed 4711   one history, with its trace
//	MXM_TEST_ALL=1 go test ./core/internal/grant/simulation                     what CI runs, mutations included
//
// TestMutations is the test of the test: it breaks the protocol on purpose, one
// rule at a time, and every mutant must be caught.
package simulation
