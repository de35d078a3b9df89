// Package pgxstore keeps sessions and grants in PostgreSQL, 12 or later, for an
// application of several instances.
//
//	pool, err := pgxpool.New(ctx, "postgres://app@localhost/app")
//	store, err := pgxstore.New(ctx, pool)
//	auth, err := core.New(core.Config{…, Sessions: core.NewSessions(store), Grants: store, Keys: keys})
//
// [NewDB] takes a *sql.DB of pgx's driver instead, for an application that has
// one, as behind GORM or sqlx. Set its MaxIdleConns to its MaxOpenConns, or
// connections beyond two are opened and closed all the time.
//
// Every call is one statement, which is one transaction and one round trip. No
// lock outlives it, and there are no advisory locks.
//
// # Tables
//
// [New] creates the tables mxm_sessions, mxm_grants and mxm_schema where they are
// missing, in the schema that search_path names first; several instances may
// start at once. Whoever migrates the database another way runs [Schema], and
// New then only checks the version: the application needs SELECT, INSERT, UPDATE
// and DELETE on mxm_sessions and mxm_grants, and SELECT on mxm_schema.
//
// # What the server must be set to
//
//   - The primary: New refuses a server in recovery. With several hosts in the
//     connection string set target_session_attrs=read-write, or a failover can
//     leave the pool on a replica, where every write is an error.
//   - default_transaction_isolation read committed, as it is unless somebody has
//     set it. Under the others, writes that meet are errors: a session could not
//     be ended while it is in use. New refuses them. Where the rest of the
//     application needs another, give the store a pool of its own, with
//     default_transaction_isolation=read%20committed in its connection string.
//   - No proxy that sends a SELECT to a replica, such as pgpool with load
//     balancing: a grant is found there that another instance has replaced. New
//     cannot see it.
//   - synchronous_commit not off. With off, a crash loses the last commits though
//     they were acknowledged. New warns through slog.Default.
//
// # What a failover can cost
//
// With synchronous replication (synchronous_standby_names) nothing that was
// acknowledged. With asynchronous replication, the last writes before it: then a
// grant holds a refresh token that is spent, which package core repairs while a
// process that knows the newer one is in use, and else its user connects again; a
// session that had just begun is gone, and one that had just ended may be back
// until it expires. A database restored from a backup is the same for all that
// has changed since.
//
// # PgBouncer
//
// The store works behind pgbouncer in transaction mode, of any version and
// whatever the pool's default_query_exec_mode. New sees that a pooler stands
// between, and then nothing is prepared by name. Without one, and with pgx's
// default mode, statements are prepared once per connection, which takes a third
// off every call. Parameters are always sent apart from the statement.
//
// # Growth
//
// A session with 200 bytes of data takes 390 bytes of the disk, indexes included,
// and more while old versions of rows that were updated wait for autovacuum.
// Finding one of a million at random takes 1.0 to 1.5 times as long as finding the
// same one again and again (30 to 45 µs), which is the B-tree, one level deeper,
// and pages that are in no cache yet: at every number it is 1.0 to 1.2 times a bare
// SELECT by the key. shared_buffers of 32 MB and of 1 GB make no difference while
// the system's cache holds the table. Measured on PostgreSQL 15 by
//
//	MXM_BENCH_SESSIONS=1000000 go test -run '^$' -bench Growth ./sessionstore/pgxstore
//
// # Clocks
//
// An expiry is sent as the time that is left and judged by the server's clock
// alone, so instances whose clocks differ agree on what has expired.
//
// # Sessions
//
// A deleted session leaves a row without data behind, for the rest of its life
// and an hour, and commits to it do nothing. One that has merely expired is not
// found, and a commit starts it afresh. Once a minute each store deletes what has
// expired, in batches of a thousand rows that skip what others are deleting. The
// goroutine that does it ends with [Store.Close].
package pgxstore
