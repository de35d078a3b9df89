//go:build unix

package engines

import (
	"context"
	"crypto/tls"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Redis is a redis-server of its own, with the append-only file on and written
// at every command, so that a kill loses nothing that was acknowledged.
type Redis struct {
	Process
	Dir    string        // its data
	Client *redis.Client // for what a test does to it
}

// StartRedis starts a redis-server; args are more of its command line, such as
// "--maxmemory", "10mb".
func StartRedis(t testing.TB, args ...string) *Redis {
	t.Helper()
	return startRedis(t, nil, args...)
}

// StartRedisTLS starts a redis-server that speaks TLS only, and only with clients
// that show a certificate. It returns what such a client needs. The file ca.pem
// in its Dir is the authority that signed for both.
func StartRedisTLS(t testing.TB, args ...string) (*Redis, *tls.Config) {
	t.Helper()
	dir := t.TempDir()
	config := writeCertificates(t, dir)
	args = append([]string{
		"--dir", dir, "--tls-ca-cert-file", filepath.Join(dir, "ca.pem"),
		"--tls-cert-file", filepath.Join(dir, "server.pem"), "--tls-key-file", filepath.Join(dir, "server.key"),
	}, args...)
	r := startRedis(t, config, args...)
	r.Dir = dir
	return r, config
}

func startRedis(t testing.TB, config *tls.Config, args ...string) *Redis {
	t.Helper()
	path := need(t, "redis-server", "redis-server")
	addr, port := freeAddr(t)
	listen, ready := []string{"--port", port}, pong(addr)
	if config != nil {
		listen = []string{"--port", "0", "--tls-port", port}
		ready = func() error {
			c, err := tls.Dial("tcp", addr, config)
			if err != nil {
				return err
			}
			return c.Close()
		}
	}
	dir := t.TempDir()
	r := &Redis{Dir: dir, Client: newRedisClient(t, addr, config), Process: Process{
		Addr: addr, t: t, path: path, attr: processAttr(nil), ready: ready,
		args: append(append(listen, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0"), args...),
	}}
	t.Cleanup(r.Kill)
	r.Start()
	return r
}

func pong(addr string) func() error {
	return func() error { return ask(addr, "PING\r\n", "+PONG\r\n") }
}

func newRedisClient(t testing.TB, addr string, config *tls.Config) *redis.Client {
	client := redis.NewClient(&redis.Options{
		Addr: addr, TLSConfig: config, MaxRetries: -1,
		DialTimeout: time.Second, ReadTimeout: time.Second, ContextTimeoutEnabled: true,
	})
	t.Cleanup(func() { client.Close() })
	return client
}

// URL is its address as clients take it.
func (r *Redis) URL() string { return "redis://" + r.Addr + "/0" }

// do runs a command, which must succeed.
func (r *Redis) do(args ...any) any {
	r.t.Helper()
	v, err := r.Client.Do(context.Background(), args...).Result()
	if err != nil {
		r.t.Fatalf("%v: %v", args, err)
	}
	return v
}

// info returns a field of INFO, or nothing when there is none.
func (r *Redis) info(section, field string) string {
	text, _ := r.Client.Info(context.Background(), section).Result()
	_, rest, _ := strings.Cut("\n"+text, "\n"+field+":")
	value, _, _ := strings.Cut(rest, "\r")
	return value
}

// killBefore kills a primary and leaves nothing behind that was
// acknowledged: it takes no more writes, and the replica has all that it took.
// With lost, it is the other way around: the replica is cut off, and has nothing
// of what the primary acknowledges while lost runs.
func (r *Redis) killBefore(replica *Redis, lost func()) {
	r.t.Helper()
	if lost == nil {
		r.do("CLIENT", "PAUSE", 60_000, "WRITE")
		r.await("the replica has everything", func() bool {
			offset := r.info("replication", "master_repl_offset")
			return offset != "" && offset == replica.info("replication", "slave_repl_offset")
		})
		r.Kill()
		return
	}
	replica.do("CONFIG", "SET", "masterauth", "wrong")
	r.do("CLIENT", "KILL", "TYPE", "replica")
	r.await("the replica is cut off", func() bool { return r.info("replication", "connected_slaves") == "0" })
	lost()
	r.Kill()
	replica.do("CONFIG", "SET", "masterauth", "")
}

// await waits for something that servers agree upon by themselves.
func (p *Process) await(what string, condition func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(startTimeout); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			p.t.Fatalf("never: %s\n%s", what, p.log.String())
		}
	}
}

// hostPort is an address as Redis takes it: in two words.
func hostPort(addr string) (host string, port int) {
	host, p, _ := net.SplitHostPort(addr)
	port, _ = strconv.Atoi(p)
	return host, port
}
