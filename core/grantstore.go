package core

import (
	"context"
	"time"
)

// Record is one value of a [GrantStore]. Data is sealed: a store sees neither
// tokens nor users. The writer chooses Version, at random and anew for every
// write. So a key that was deleted and created again never has an old version,
// and a writer that got no answer can read back whether it won.
type Record struct {
	Data    []byte
	Version string
	Expiry  time.Time // zero: never
}

// GrantStore keeps the records that outlive a request and that all instances of
// an application share: grants, and claims on callbacks. Keys are opaque
// strings of at most 128 bytes of visible ASCII. All methods are safe for
// concurrent use. What one call has acknowledged, every later call on any
// instance sees.
//
// [Memory] is the reference implementation. Package sessionstore/storetest has
// the tests that every implementation must pass.
type GrantStore interface {
	// FindGrant returns the record at key. If the record is absent or has
	// expired, found is false and err is nil.
	FindGrant(ctx context.Context, key string) (r Record, found bool, err error)

	// CommitGrant stores r at key if, and only if, the version stored there is
	// old; old == "" means that no record is there, or an expired one.
	// Otherwise nothing changes and the error is ErrConflict. After any other
	// error the record may or may not have been stored.
	CommitGrant(ctx context.Context, key, old string, r Record) error

	// DeleteGrant removes the record at key. Its absence is not an error.
	DeleteGrant(ctx context.Context, key string) error
}
