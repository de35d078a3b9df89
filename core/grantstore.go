package core

import (
	"context"
	"time"
)

// Record is one value of a [GrantStore], sealed by this package: a store sees
// neither tokens nor who they belong to. Version is chosen by the writer,
// random and unique for every write, so that a deleted and re-created key never
// answers to an old version, and a writer who got no answer can read back
// whether it won.
type Record struct {
	Data    []byte
	Version string
	Expiry  time.Time // zero: never
}

// GrantStore keeps the records that outlive a request and are shared by all
// instances of an application: grants, and claims on callbacks. Keys are opaque
// strings of at most 128 bytes of visible ASCII. All methods are safe for concurrent use, and what
// one has acknowledged every later call on any instance sees.
type GrantStore interface {
	// FindGrant returns the record at key. A record that is absent or has
	// expired is found=false and no error.
	FindGrant(ctx context.Context, key string) (r Record, found bool, err error)

	// CommitGrant stores r at key if, and only if, the version stored there is
	// old; old == "" means that no record is there, or an expired one. Otherwise nothing changes and the
	// error is ErrConflict. After any other error the record may or may not
	// have been stored.
	CommitGrant(ctx context.Context, key, old string, r Record) error

	// DeleteGrant removes the record at key. Its absence is not an error.
	DeleteGrant(ctx context.Context, key string) error
}
