package linearizable

import (
	"math"
	"time"

	"github.com/anishathalye/porcupine"
)

// operation is what a client asked of one key, or a failover, which happens to
// all of them. Times are those since the run began.
type operation struct {
	kind             kind
	old, version     string        // of a commit
	expiry           time.Duration // of a commit; 0: never
	called, returned time.Duration
	lost             bool // a failover may lose it although it was acknowledged
}

type kind int

const (
	find kind = iota
	commit
	remove
	failover
)

// outcome is what the client was told.
type outcome struct {
	version  string // found; "" is absent
	conflict bool
	unknown  bool // any other error: it happened or not, or will at any later time
}

const never = time.Duration(math.MaxInt64)

// granularity is what an engine may round an expiry by.
const granularity = 2 * time.Millisecond

// register is the state of one key. A chain of what was there before is kept for
// as long as a failover may go back to it.
type register struct {
	version          string        // "" is absent
	earliest, latest time.Duration // when it expires
	beforeLostWrites *register
}

// step returns the states after an operation, none if the outcome cannot be.
//
// Every call judges an expiry by the time somewhere between its beginning and
// its end: what expires meanwhile may count either way.
func step(r register, op operation, out outcome) []register {
	alive := r.version != "" && op.called <= r.latest
	absent := r.version == "" || op.returned >= r.earliest
	switch op.kind {
	case find:
		if out.version == "" && absent || out.version != "" && alive && out.version == r.version {
			return []register{r}
		}
	case commit:
		matches := alive && r.version == op.old
		differs := absent || r.version != op.old
		if op.old == "" {
			matches, differs = absent, alive
		}
		switch {
		case out.conflict && differs, out.unknown && !matches:
			return []register{r}
		case !out.conflict && matches:
			return []register{r.write(op, out)}
		}
	case remove:
		return []register{r.write(op, out)}
	case failover:
		states := []register{}
		for s := &r; s != nil; s = s.beforeLostWrites {
			states = append(states, register{version: s.version, earliest: s.earliest, latest: s.latest})
		}
		return states
	}
	return nil
}

func (r register) write(op operation, out outcome) register {
	w := register{version: op.version, earliest: never, latest: never}
	if op.expiry != 0 {
		w.earliest = op.expiry - granularity
		if !out.unknown {
			// It is sent as the time that is left, which counts from when it arrives.
			w.latest = op.expiry + op.returned - op.called + granularity
		}
	}
	if op.lost {
		w.beforeLostWrites = &r
	}
	return w
}

func (r register) equal(other register) bool {
	if r.version != other.version || r.earliest != other.earliest || r.latest != other.latest {
		return false
	}
	if r.beforeLostWrites == nil || other.beforeLostWrites == nil {
		return r.beforeLostWrites == other.beforeLostWrites
	}
	return r.beforeLostWrites.equal(*other.beforeLostWrites)
}

var model = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{register{}} },
	Step: func(state, input, output any) (next []any) {
		for _, r := range step(state.(register), input.(operation), output.(outcome)) {
			next = append(next, r)
		}
		return next
	},
	Equal: func(a, b any) bool { return a.(register).equal(b.(register)) },
}).ToModel()
