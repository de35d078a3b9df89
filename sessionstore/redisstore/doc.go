// Package redisstore keeps sessions and grants in Redis, or in a server that
// speaks its protocol and runs its scripts, for an application of several
// instances.
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true})
//	store, err := redisstore.New(ctx, client, "app:")
//	auth, err := core.New(core.Config{…, Sessions: core.NewSessions(store), Grants: store, Keys: keys})
//
// Everything is one command on one key: a session is read with GET, and all else
// is a script. So a cluster serves as well as a single server, and a sentinel
// group, with or without TLS and client certificates: all of these are tested, on
// Redis 7.0. Valkey has not been tried.
//
// # A user for the application
//
// This user can do what the store needs, and nothing else:
//
//	ACL SETUSER app on >PASSWORD ~app:* +get +del +evalsha +eval +info +scan +exists +strlen +set +pttl +pexpire +persist +hget +hmget +hset
//
// The words after SCAN are for what scripts do. ~app:* are the keys that begin
// with the prefix; SCAN shows the names of all others, too, and not what is in
// them. A client of a cluster also asks who serves which slots,
// and client-side caching for word of changes:
//
//	ACL SETUSER app +cluster|slots +command
//	ACL SETUSER app +client|tracking
//
// Where the ACL does not allow INFO, New warns that it cannot see the eviction
// policy, and ListGrants fails.
//
// # What the server must be set to
//
//   - maxmemory-policy noeviction, or no maxmemory: everything here has to stay
//     until it expires. An evicted grant costs its user a new connection, an
//     evicted tombstone lets a session come back that had ended. [New] logs a
//     warning when the server may evict. A full server refuses writes with an
//     error, and changes nothing.
//   - appendonly yes. With appendfsync everysec, the default, a crash of the
//     machine loses the last second; with always it does not.
//   - reads from the primary. [New] refuses a cluster client with ReadOnly,
//     RouteByLatency or RouteRandomly: they send the GET of a session to replicas,
//     and a session that has ended is found there for as long as a replica lags.
//   - one server, a sentinel group or a cluster. [New] refuses a Ring, which
//     writes to another server while one is away and reads the old one again
//     when that is back.
//
// # What a failover can cost
//
// Replication is asynchronous, and waiting for replicas (WAIT) does not change
// what a failover may choose. When a primary dies, what it acknowledged and its
// replica had not yet received is lost: usually milliseconds, and as much as the
// replica lags. A primary that is cut off from the others, but not from the
// application, goes on acknowledging what will be lost:
//
//   - of a cluster, for cluster-node-timeout (15 s by default) and a moment more;
//   - of a sentinel group, until it is reached again. Set min-replicas-to-write 1
//     and min-replicas-max-lag 10, and it stops after these ten seconds.
//
// Lost means: a grant holds a refresh token that is spent, which package core
// repairs while a process that knows the newer one is in use, and else its user
// connects again. A session that had just begun is gone. One that had just ended
// may be back until it expires. Two keys of one user may be on two masters of a
// cluster, of which one fails over alone.
//
// While nobody serves, calls return errors, which package core answers with
// ErrUnavailable; nothing is lost by that. A failover takes about as long as
// cluster-node-timeout or down-after-milliseconds, and 1 to 2 s. go-redis 9.22
// and later go on trying a dead master of a cluster for a minute
// (https://github.com/redis/go-redis/issues/3979); this package tells it to ask
// again at the first error. With DialerRetries left at its default, five, each
// call to a dead server takes half a second longer than it must.
//
// Slots can be moved to another master at any time: in the tests nobody notices.
//
// # A list of the grants
//
// ListGrants is a SCAN of every master, one after the other. There is no index of
// the grants that could disagree with them. A page is one SCAN of about limit
// keys of the database. Sessions and the keys of other applications count, so
// keep a database for this store alone if there are many. A page has the grants
// among these keys: none, as many as limit, or a few more. It takes one round trip
// and, of a cluster, another one to see who its masters are.
//
// After a failover, after a restart of the master that is being scanned, and when
// slots have moved, the sweep begins again by itself. A grant whose slot is being
// moved may be missed by that sweep; the next one finds it.
//
// # Growth
//
// A session with 200 bytes of data takes 385 to 410 bytes of the server's memory,
// and as much of every replica. Finding one of a million at random takes 1.1 to
// 1.2 times as long as finding the same one again and again (20 to 23 µs), which
// is the processor's caches: at every number it is 1.00 times a GET of the same
// key. On a cluster with a replica of each master, a session takes 840 bytes of
// both together, and finding one takes 1.0 to 1.1 times as long as a GET. Measured
// on Redis 7 by
//
//	MXM_BENCH_SESSIONS=1000000 go test -run '^$' -bench Growth ./sessionstore/redisstore
//
// # Clocks
//
// An expiry is sent as the time that is left and judged by the server's clock
// alone, so instances whose clocks differ agree on what has expired.
//
// # Client-side caching
//
//	redis.Options{…, ClientSideCacheConfig: &redis.ClientSideCacheConfig{}} // since go-redis 9.22
//
// When the client has it, sessions are read from the process's memory until the
// server says that they have changed. That takes a moment (up to 6 ms were seen)
// in which a session that ended, on another instance or on this one, is still
// found; MaxStaleness bounds it when the word is lost. It can still not be
// revived: the server decides about every commit. A session that changed is found
// as it was for as long, and a request that comes in that moment and changes it,
// too, writes it back without the first change. Grants are never cached.
//
// # Deadlines and retries
//
// go-redis looks at a context before it sends a command, and while it waits for
// the answer only when the client has ContextTimeoutEnabled; without it, a server
// that hangs is noticed after ReadTimeout, three seconds, times the retries. Set
// it.
//
// go-redis repeats a command whose answer was lost, and a write here may be
// repeated: a compare-and-swap that finds its own version stored has succeeded.
// One that was repeated and finds another version cannot know whether it was
// there before that, so its error is not core.ErrConflict: the caller reads back.
package redisstore
