// Package sqlitestore keeps sessions and grants in a SQLite database, for an
// application that runs on one machine, in one process or several.
//
//	store, err := sqlitestore.Open("/var/lib/app/musixmatch.db")
//	auth, err := core.New(core.Config{…, Sessions: core.NewSessions(store), Grants: store, Keys: keys})
//
// # What the database must be set to
//
// [Open] uses the driver modernc.org/sqlite, which needs no C compiler, and sets
// all this itself on every connection. [New] takes a database of any SQLite
// driver, checks two connections, and refuses it when one of these is missing,
// as on the second when a PRAGMA statement has set it on the first:
//
//   - journal_mode WAL: reads go on while something is written;
//   - busy_timeout, such as 5000 ms: another process's write is waited for;
//   - synchronous FULL (or EXTRA): in WAL mode, NORMAL loses the last commits
//     when the machine loses power, and with them a refresh token that can be
//     had only once.
//
// For modernc.org/sqlite and mattn/go-sqlite3 the data source names are
//
//	file:app.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_pragma=synchronous(FULL)
//	file:app.db?_journal_mode=WAL&_busy_timeout=5000&_synchronous=FULL
//
// The file belongs on a local disk: WAL does not work across a network. It holds
// sealed grants, and sessions, which are not sealed: Open gives it, and the files
// that SQLite puts beside it, the mode 0600, which New leaves to you. A process
// that has it open must not read it in another way, as to copy it: closing the
// copied file ends SQLite's locks. VACUUM INTO makes a copy.
//
// # What can be lost
//
// Nothing that was acknowledged, unless the disk lies about flushing. A database
// that is restored from a backup holds refresh tokens that are spent, and their
// users have to connect again.
//
// # Growth
//
// A session with 200 bytes of data takes 380 bytes of the disk, its index
// included. Finding one of a million at random takes 1.6 to 1.7 times as long as
// finding the same one again and again, of 100 000 1.4 times (10 to 15 µs for the
// only one, 16 to 28 µs for one of a million): a B-tree of more levels, and pages
// that are in the system's cache and not in the processor's or SQLite's. At every
// number it is 1.1 to 1.3 times a bare SELECT by the key. A cache_size of 64 MB
// changes none of it; mmap_size takes a fifth off, and Open does not set it,
// because a read error would then end the process. Measured by
//
//	MXM_BENCH_SESSIONS=1000000 go test -run '^$' -bench Growth ./sessionstore/sqlitestore
//
// # Sessions
//
// A deleted session leaves a row without data behind, for the rest of its life
// and an hour, and commits to it do nothing. One that has merely expired is not
// found, and a commit starts it afresh. Expiry is judged by the clock of the
// machine. Writes delete what has expired, a thousand rows at most once a minute
// or, while there are more, at every write.
//
// The tables are mxm_sessions, mxm_grants and mxm_schema.
package sqlitestore
