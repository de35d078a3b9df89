// Package sessionstore is the directory of the stores: where sessions and grants
// are kept. Each is a package with one constructor, and one value that is given
// twice, as scs.CtxStore for sessions and as core.GrantStore for grants.
//
//	store, err := pgxstore.New(ctx, pool)
//	auth, err := core.New(core.Config{…, Sessions: core.NewSessions(store), Grants: store, Keys: keys})
//
// Which one:
//
//   - memstore: one process that may forget. Development, tests. A restart signs
//     everybody out, and everybody has to connect to Musixmatch again.
//   - sqlitestore: one machine, and nothing else to run. Survives a crash of the
//     process and of the machine.
//   - pgxstore: several machines, and a PostgreSQL that is there anyway. Loses
//     nothing, with synchronous replication not even in a failover. If in doubt,
//     this one.
//   - mysqlstore: several machines, and a MariaDB or MySQL that is there anyway. What
//     is said of pgxstore holds with semi-synchronous replication.
//   - redisstore: several machines, and the fastest read of the shared ones. It
//     keeps what it is set to keep: read its documentation before a grant of
//     months depends on it.
//
// A session takes 380 to 460 bytes in each, of MariaDB up to 630, and finding one
// of a million is 1.0 to 1.2 times the engine's own read of it, on memory half as
// much again: each package says how it grows.
//
// Sessions and grants may be in two different ones: sessions are read at every
// request and cheap to lose, grants are the other way round.
//
// # What they promise
//
// A session that has ended does not come back. scs upserts, so that with its own
// stores a request which was running at the logout writes the session back; here
// a deleted session leaves a tombstone, and a commit to it does nothing. A
// foreign scs store works too, without that promise.
//
// A grant is replaced by compare-and-swap in one step, so that of all instances
// that want to refresh it exactly one does. What was acknowledged is seen by all,
// as long as the engine keeps it: each package says what it must be set to and
// what a failover can cost.
//
// They see grants that are sealed and session tokens that are hashed, and nothing
// of either can be used by who reads a dump. What is in a session is not sealed:
// the user's ID, and whatever the application puts there.
//
// # Your own
//
// Package storetest is the contract as tests, and storetest/engines starts the
// servers they need.
package sessionstore
