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

// GrantLister is what a [GrantStore] may implement, too, so that [Auth.Grants]
// and [Auth.Maintain] find the grants in it. All stores of this module do.
//
// The calls from cursor "" to next "" are a sweep. It returns each key that is
// in the store throughout the sweep at least once, whatever is written and
// deleted meanwhile. It may return a key twice, and one that was written, deleted
// or expired during the sweep.
type GrantLister interface {
	// ListGrants returns one page of the keys in the store. A sweep begins with
	// cursor "" and goes on with the next of the page before; next == "" ends it.
	// A page has about limit keys; it may have a few more, or fewer, or none before
	// the end. A limit below 1 is an error. What a call costs in memory depends on
	// limit alone.
	//
	// A cursor is text. It serves any instance of the application, and as often as
	// wanted: the same cursor returns the same page again, or a similar one. Where
	// the store cannot go on at a cursor, such as after a failover, the sweep
	// begins again, with a page as for "". An error leaves the cursor as it was.
	ListGrants(ctx context.Context, cursor string, limit int) (keys []string, next string, err error)
}
