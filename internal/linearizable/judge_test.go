package linearizable

import (
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
)

// The judge is judged by histories whose verdict a reader sees. Times are in milliseconds.
func TestJudge(t *testing.T) {
	const ms = time.Millisecond
	did := func(called, returned int, op operation, out outcome) porcupine.Operation {
		op.called, op.returned = time.Duration(called)*ms, time.Duration(returned)*ms
		return porcupine.Operation{Input: op, Output: out, Call: int64(op.called), Return: int64(op.returned)}
	}
	finds := func(called, returned int, version string) porcupine.Operation {
		return did(called, returned, operation{kind: find}, outcome{version: version})
	}
	commits := func(called, returned int, old, version string, out outcome) porcupine.Operation {
		return did(called, returned, operation{kind: commit, old: old, version: version}, out)
	}
	expires := func(called, returned int, version string, expiry int) porcupine.Operation {
		return did(called, returned, operation{kind: commit, version: version, expiry: time.Duration(expiry) * ms}, outcome{})
	}
	mayBeLost := func(o porcupine.Operation) porcupine.Operation {
		op := o.Input.(operation)
		op.lost = true
		o.Input = op
		return o
	}
	ok, conflict, unknown := outcome{}, outcome{conflict: true}, outcome{unknown: true}
	created := commits(0, 1, "", "a", ok)
	failedOver := did(10, 20, operation{kind: failover}, outcome{})

	for _, tt := range []struct {
		name    string
		legal   bool
		history []porcupine.Operation
	}{
		{"read what was written", true, []porcupine.Operation{created, finds(2, 3, "a")}},
		{"nothing is read before it is written", false, []porcupine.Operation{created, finds(2, 3, "b")}},
		{"a write is not forgotten", false, []porcupine.Operation{created, finds(2, 3, "")}},
		{"of two creators one wins", false, []porcupine.Operation{created, commits(0, 1, "", "b", ok)}},
		{"the other gets a conflict", true, []porcupine.Operation{created, commits(0, 1, "", "b", conflict)}},
		{"no conflict without a reason", false, []porcupine.Operation{created, commits(2, 3, "a", "b", conflict)}},
		{"no replacing of what is not there", false, []porcupine.Operation{created, commits(2, 3, "x", "b", ok)}},
		{"a read at the same time may see either", true, []porcupine.Operation{created, commits(2, 9, "a", "b", ok), finds(3, 4, "a"), finds(5, 6, "b")}},
		{"but not the old one after the new one", false, []porcupine.Operation{created, commits(2, 9, "a", "b", ok), finds(3, 4, "b"), finds(5, 6, "a")}},
		{"without an answer, it was not done", true, []porcupine.Operation{created, commits(2, 99, "a", "b", unknown), finds(50, 60, "a")}},
		{"without an answer, it was done", true, []porcupine.Operation{created, commits(2, 99, "a", "b", unknown), finds(3, 4, "b")}},
		{"without an answer, it is done later", true, []porcupine.Operation{created, commits(2, 99, "a", "b", unknown), finds(50, 60, "a"), finds(70, 80, "b")}},
		{"and not undone", false, []porcupine.Operation{created, commits(2, 99, "a", "b", unknown), finds(50, 60, "b"), finds(70, 80, "a")}},
		{"deleted", true, []porcupine.Operation{created, did(2, 3, operation{kind: remove}, ok), finds(4, 5, "")}},
		{"deleted and there", false, []porcupine.Operation{created, did(2, 3, operation{kind: remove}, ok), finds(4, 5, "a")}},
		{"expired and absent", true, []porcupine.Operation{expires(0, 1, "a", 50), finds(2, 3, "a"), finds(60, 61, "")}},
		{"absent before it expires", false, []porcupine.Operation{expires(0, 1, "a", 50), finds(20, 30, "")}},
		{"there after it has expired", false, []porcupine.Operation{expires(0, 1, "a", 50), finds(60, 61, "a")}},
		{"created over the expired", true, []porcupine.Operation{expires(0, 1, "a", 50), commits(60, 61, "", "b", ok)}},
		{"created over the living", false, []porcupine.Operation{expires(0, 1, "a", 50), commits(20, 21, "", "b", ok)}},
		{"a failover loses what it may", true, []porcupine.Operation{created, mayBeLost(commits(2, 3, "a", "b", ok)), failedOver, finds(30, 31, "a")}},
		{"or loses nothing", true, []porcupine.Operation{created, mayBeLost(commits(2, 3, "a", "b", ok)), failedOver, finds(30, 31, "b")}},
		{"but nothing else", false, []porcupine.Operation{created, commits(2, 3, "a", "b", ok), failedOver, finds(30, 31, "a")}},
		{"and nothing before it", false, []porcupine.Operation{created, mayBeLost(commits(2, 3, "a", "b", ok)), finds(8, 9, "a"), failedOver}},
		{"and brings nothing back later", false, []porcupine.Operation{created, mayBeLost(commits(2, 3, "a", "b", ok)), failedOver, finds(30, 31, "b"), finds(40, 41, "a")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.legal, porcupine.CheckOperations(model, tt.history))
		})
	}
}
