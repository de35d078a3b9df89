//go:build unix

package engines

import "testing"

// Redis is a redis-server of its own, with the append-only file on and written
// at every command, so that a kill loses nothing that was acknowledged.
type Redis struct {
	Process
	Dir string // its data
}

// StartRedis starts a redis-server; args are more of its command line, such as
// "--maxmemory", "10mb".
func StartRedis(t testing.TB, args ...string) *Redis {
	t.Helper()
	path := need(t, "redis-server", "redis-server")
	addr, port := freeAddr(t)
	dir := t.TempDir()
	r := &Redis{Dir: dir, Process: Process{
		Addr: addr, t: t, path: path, attr: processAttr(nil),
		args:  append([]string{"--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0"}, args...),
		ready: func() error { return ask(addr, "PING\r\n", "+PONG\r\n") },
	}}
	t.Cleanup(r.Kill)
	r.Start()
	return r
}

// URL is its address as clients take it.
func (r *Redis) URL() string { return "redis://" + r.Addr + "/0" }
