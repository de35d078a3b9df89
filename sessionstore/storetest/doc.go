// Package storetest is the contract of a store, as tests. A store that passes
// [RunSessions] and [RunGrants] can carry the sessions and the grants of
// package core, and one that passes [RunLister] can list the grants:
//
//	func TestStore(t *testing.T) {
//		storetest.RunSessions(t, func(t *testing.T) scs.CtxStore { return open(t) })
//		storetest.RunGrants(t, func(t *testing.T) core.GrantStore { return open(t) })
//		storetest.RunLister(t, func(t *testing.T) storetest.Lister { return open(t) })
//	}
//
// Every case carries the sentence it proves and prints it when it fails. Cases
// run in parallel and use keys that no other case uses, so newStore may return
// the same store, or an engine that other tests use too.
//
// [Faulty] wraps a store and breaks it on demand. [Benchmark] measures one, and
// [BenchmarkGrowth] how it bears many sessions.
package storetest

import (
	"crypto/rand"
	"testing"

	"github.com/alexedwards/scs/v2"
	"github.com/mxmconnect/mxmconnect/core"
)

// Store is what every store of this module is: one value, two roles.
type Store interface {
	scs.CtxStore
	core.GrantStore
}

type testCase[S any] struct {
	name   string
	proves string
	run    func(t *testing.T, s S)
}

// run runs every case in parallel and returns when all are done, so that the
// caller may take its engine down afterwards.
func run[S any](t *testing.T, name string, cases []testCase[S], newStore func(t *testing.T) S) {
	t.Run(name, func(t *testing.T) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				t.Cleanup(func() {
					if t.Failed() {
						t.Logf("the store does not keep this promise: %s", c.proves)
					}
				})
				c.run(t, newStore(t))
			})
		}
	})
}

// unique returns a key that no other test uses.
func unique() string { return rand.Text() + rand.Text()[:17] } // as long as scs's
