//go:build unix

package engines

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// SentinelName is how the sentinels of a [RedisSentinel] call what they watch.
const SentinelName = "app"

// RedisSentinel is a Redis with a replica, watched by three sentinels. Its methods
// fail the test when they do not succeed, and are not for concurrent use.
type RedisSentinel struct {
	Primary, Replica *Redis
	Addrs            []string // of the sentinels
	sentinels        []*Redis
}

// StartRedisSentinel starts a group in which a primary that is silent for half a
// second is replaced; args are more of the command line of both servers.
func StartRedisSentinel(t testing.TB, args ...string) *RedisSentinel {
	t.Helper()
	s := &RedisSentinel{Primary: StartRedis(t, args...)}
	host, port := hostPort(s.Primary.Addr)
	s.Replica = StartRedis(t, append(args, "--replicaof", fmt.Sprint(host, " ", port))...)
	s.Replica.await("it follows", func() bool { return s.Replica.info("replication", "master_link_status") == "up" })
	for range 3 {
		s.startSentinel(t)
	}
	for _, sentinel := range s.sentinels {
		sentinel.await("it knows the others", func() bool {
			return s.says(sentinel, "num-slaves") == "1" && s.says(sentinel, "num-other-sentinels") == "2"
		})
	}
	return s
}

func (s *RedisSentinel) startSentinel(t testing.TB) {
	t.Helper()
	addr, port := freeAddr(t)
	host, primary := hostPort(s.Primary.Addr)
	file := filepath.Join(t.TempDir(), "sentinel.conf")
	config := fmt.Sprintf(`bind 127.0.0.1
port %s
sentinel monitor %[2]s %s %d 2
sentinel down-after-milliseconds %[2]s 500
sentinel failover-timeout %[2]s 10000
`, port, SentinelName, host, primary)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	sentinel := &Redis{Client: newRedisClient(t, addr, nil), Process: Process{
		Addr: addr, t: t, path: s.Primary.path, attr: processAttr(nil), ready: pong(addr), args: []string{file, "--sentinel"},
	}}
	t.Cleanup(sentinel.Kill)
	sentinel.Start()
	s.sentinels, s.Addrs = append(s.sentinels, sentinel), append(s.Addrs, addr)
}

// Failover kills the primary, and returns when all sentinels name the other one.
// Nothing is lost that the primary acknowledged.
func (s *RedisSentinel) Failover() {
	s.Primary.t.Helper()
	s.Primary.killBefore(s.Replica, nil)
	s.Primary, s.Replica = s.Replica, s.Primary
	_, port := hostPort(s.Primary.Addr)
	for _, sentinel := range s.sentinels {
		sentinel.await("the sentinels chose the replica", func() bool {
			return s.says(sentinel, "port") == fmt.Sprint(port) && s.Primary.info("replication", "role") == "master"
		})
	}
}

// says returns what a sentinel says of the primary.
func (s *RedisSentinel) says(sentinel *Redis, field string) string {
	v, _ := sentinel.Client.Do(context.Background(), "SENTINEL", "MASTER", SentinelName).Result()
	fields, _ := v.(map[any]any)
	value, _ := fields[field].(string)
	return value
}
