// Package memstore keeps sessions and grants in the memory of one process, for
// development, tests, and an application that runs once and may forget.
//
// It is shared with nobody and not durable: a second instance knows nothing of
// it, and a restart signs everybody out and costs every grant. It is what
// core.New uses when it is given no store.
package memstore

import "github.com/mxmconnect/mxmconnect/core"

// Store is [core.Memory], under the name that every store has.
type Store = core.Memory

// New returns an empty store. It needs no Close.
func New() *Store { return core.NewMemory() }
