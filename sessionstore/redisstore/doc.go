// Package redisstore keeps sessions and grants in Redis, or in a server that
// speaks its protocol and runs its scripts, for an application of several
// instances.
//
//	client := redis.NewClient(&redis.Options{Addr: "localhost:6379", ContextTimeoutEnabled: true})
//	store, err := redisstore.New(ctx, client, "app:")
//	auth, err := core.New(core.Config{…, Sessions: core.NewSessions(store), Grants: store, Keys: keys})
//
// Everything is one command on one key: a session is read with GET, and all else
// is a script, so a cluster serves as well as a single server. Commands that an
// ACL must allow: GET, DEL, EVALSHA, EVAL, INFO, and in the scripts EXISTS,
// STRLEN, SET, PTTL, PEXPIRE, PERSIST, HGET, HMGET and HSET.
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
//   - reads from the primary. Leave ReadOnly, RouteByLatency and RouteRandomly
//     of a cluster client unset: they send the GET of a session to replicas, and
//     a session that has ended is found there for as long as a replica lags.
//     Grants are read by script and always from the primary.
//   - one server, a sentinel group or a cluster. [New] refuses a Ring, which
//     writes to another server while one is away and reads the old one again
//     when that is back.
//
// # What a failover can cost
//
// Replication is asynchronous, and waiting for replicas (WAIT) does not change
// what a failover may choose: the last writes before it can be lost although
// they were acknowledged. Then a grant holds a refresh token that is spent,
// which package core repairs while a process that knows the newer one is in use,
// and else its user connects again. A session that had just begun is gone. One
// that had just ended may be back until it expires.
//
// # Growth
//
// A session with 200 bytes of data takes 385 to 410 bytes of the server's memory,
// and as much of every replica. Finding one of a million at random takes 1.1 to
// 1.2 times as long as finding the same one again and again (20 to 23 µs), which
// is the processor's caches: at every number it is 1.00 times a GET of the same
// key. Measured on Redis 7 by
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
// When the client has it (ClientSideCacheConfig of go-redis), sessions are read
// from the process's memory until the server says that they have changed. That
// takes a moment (up to 6 ms were seen) in which a session that ended, on another
// instance or on this one, is still found; MaxStaleness bounds it when the word is
// lost. It can still not be revived: the server decides about every commit. A
// session that changed is found as it was for as long, and a request that comes
// in that moment and changes it, too, writes it back without the first change.
// Grants are never cached.
//
// # Deadlines and retries
//
// go-redis looks at a context before it sends a command, and while it waits for
// the answer only when the client has ContextTimeoutEnabled; without it, a server
// that hangs is noticed after ReadTimeout, three seconds, times the retries. Set
// it.
//
// go-redis repeats a command whose answer was lost. Every write here may be
// repeated: a compare-and-swap that finds its own version stored has succeeded.
package redisstore
