// Package engines starts the servers that tests need, from what is installed:
// redis-server (alone, as a cluster, behind Sentinel, over TLS), PostgreSQL,
// pgbouncer and MariaDB (alone, and with a replica), each on a free port of the
// loopback interface with a directory of its own, gone when the test ends.
//
// A test whose server is not installed is skipped and names the Debian package;
// with MXM_TEST_ALL=1 it fails.
package engines
