// Package mysqlstore keeps sessions and grants in MariaDB, 10.11 or later, or in
// MySQL, 8.0 or later, for an application of several instances. It is tested on
// MariaDB 10.11. On MySQL it has not been tried.
//
//	db, err := sql.Open("mysql", "app@tcp(localhost:3306)/app?rejectReadOnly=true")
//	db.SetMaxOpenConns(20)
//	db.SetMaxIdleConns(20)
//	db.SetConnMaxLifetime(3 * time.Minute)
//	store, err := mysqlstore.New(ctx, db)
//	auth, err := core.New(core.Config{…, Sessions: core.NewSessions(store), Grants: store, Keys: keys})
//
// The driver is github.com/go-sql-driver/mysql. Set both limits: database/sql
// keeps two idle connections and opens any number, and the server accepts 151.
//
// # Round trips
//
// Every call is one statement, which is one transaction and one round trip. One
// call is three: CommitGrant that creates a record where one is, whether it has
// expired or not. Statements are prepared, once on each connection, whereupon a
// call takes another round trip. So interpolateParams makes no difference to the
// store: with it, a query of your own takes as long as one of the store, and
// without it nearly twice as long. No lock outlives a call.
//
// The server may end a statement because of a deadlock: of several instances that
// create the same record while another deletes it. Such a statement has changed
// nothing, and the store sends it again.
//
// # Tables
//
// [New] creates the tables mxm_sessions, mxm_grants and mxm_schema where they are
// missing, in the database that the data source name names; several instances
// may start at once. Whoever migrates the database another way runs [Schema], and
// New then only checks the version: the application needs SELECT, INSERT, UPDATE
// and DELETE on mxm_sessions and mxm_grants, and SELECT on mxm_schema.
//
// Session tokens, keys and versions are bytes, up to 255 of them. They are
// compared byte by byte, whatever the character set. Data is at most 16 MB, and
// max_allowed_packet of the server may be less.
//
// # What the server must be set to
//
// New refuses, with an error that names the setting:
//
//   - A server that is read-only, as a replica should be. Grants must be read from
//     the primary, and a replica that takes writes is not recognised. With
//     rejectReadOnly=true in the data source name a connection to what a failover
//     has made a replica is given up, and the next may lead to the primary.
//   - Tables of another engine than InnoDB, such as MyISAM.
//   - The isolation level READ UNCOMMITTED, where a grant is found that was never
//     stored. The others serve, and so does innodb_snapshot_isolation.
//   - READ COMMITTED with binlog_format=STATEMENT, where InnoDB refuses to write.
//   - autocommit=0, where nothing is stored.
//   - An sql_mode without STRICT_TRANS_TABLES (or STRICT_ALL_TABLES), where a value
//     that is too long is cut, or with EMPTY_STRING_IS_NULL.
//   - Galera (wsrep_on), which has not been tried.
//
// Two things New cannot see: a proxy that sends a SELECT to a replica, such as
// ProxySQL or MaxScale with readwritesplit, and Group Replication with several
// primaries. On both a grant is found that another instance has replaced. Send
// every statement of the store to one primary.
//
// What the data source name sets counts, and not the server's default, so a pool
// of its own can have what the rest of the application cannot. New looks at one
// connection: set nothing by SET on single ones.
//
// New warns through slog.Default when a crash may lose commits that were
// acknowledged:
//
//   - innodb_flush_log_at_trx_commit must be 1, as it is unless somebody has set it.
//     With 0, a crash of the server loses about the last second, and with 2 a crash
//     of the machine.
//   - sync_binlog must be 1 if there is a binary log. It is 0 in MariaDB unless
//     somebody has set it, and 1 in MySQL. The log decides after a crash what was
//     committed: what it lacks is rolled back.
//
// # What a failover can cost
//
// With asynchronous replication, the last writes before it: then a grant holds a
// refresh token that is spent, which package core repairs while a process that
// knows the newer one is in use, and else its user connects again; a session that
// had just begun is gone, and one that had just ended may be back until it
// expires. A database restored from a backup is the same for all that has changed
// since.
//
// With semi-synchronous replication nothing that was acknowledged, if the primary
// waits before it commits and does not cease to wait: in MariaDB
// rpl_semi_sync_master_wait_point=AFTER_SYNC and a rpl_semi_sync_master_timeout
// that is longer than any outage. When the timeout, 10 seconds by default, has
// passed, replication is asynchronous. Meanwhile writes hang until their deadline.
// Make a replica the primary when it has carried out what it received: what it
// acknowledged, it has only written down. A primary that failed must come back as a
// copy of the new one: it may hold writes that nobody has seen.
//
// # Growth
//
// A session with 200 bytes of data takes 520 to 630 bytes of the disk, indexes
// included. Finding one of a million at random takes 1.1 times as long as finding
// the same one again and again (75 to 120 µs on a busy machine), while the buffer
// pool holds the table. At every number it is 1.1 to 1.3 times a bare prepared
// SELECT by the key. When innodb_buffer_pool_size is smaller than the table, finds
// read the disk: with 32 MB, one of 100 000 took 2.5 times as long. Measured on
// MariaDB 10.11 with a buffer pool of 1 GB by
//
//	MXM_BENCH_SESSIONS=1000000 go test -run '^$' -bench Growth ./sessionstore/mysqlstore
//
// # Clocks
//
// An expiry is sent as the time that is left and judged by the server's clock
// alone, in UTC, so instances whose clocks or time zones differ agree on what has
// expired. The parameters loc and parseTime and the server's time_zone make no
// difference.
//
// # Sessions
//
// A deleted session leaves a row without data behind, for the rest of its life
// and an hour, and commits to it do nothing. One that has merely expired is not
// found, and a commit starts it afresh. Once a minute each store deletes what has
// expired, in batches of 500 rows, which it finds without locks and deletes by
// key: this cannot deadlock with commits. The goroutine that does it ends with
// [Store.Close].
package mysqlstore
