// Package pgxstore keeps sessions and grants in PostgreSQL, 12 or later, for an
// application of several instances.
//
//	pool, err := pgxpool.New(ctx, "postgres://app@localhost/app")
//	store, err := pgxstore.New(ctx, pool)
//	auth, err := core.New(core.Config{…, Sessions: core.NewSessions(store), Grants: store, Keys: keys})
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
