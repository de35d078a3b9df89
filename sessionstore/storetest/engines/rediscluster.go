//go:build unix

package engines

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

const (
	masters = 3
	slots   = 16384
)

// RedisCluster is a Redis Cluster of three masters with a replica each. Its
// methods fail the test when they do not succeed, and are not for concurrent use.
type RedisCluster struct {
	Nodes []*Redis // in the beginning the masters are first

	t   testing.TB
	ids map[*Redis]string
}

// StartRedisCluster starts a cluster in which a master that is silent for a second
// is replaced; args are more of every node's command line.
func StartRedisCluster(t testing.TB, args ...string) *RedisCluster {
	t.Helper()
	c := &RedisCluster{t: t, ids: make(map[*Redis]string)}
	for i := range 2 * masters {
		_, bus := freeAddr(t)
		node := StartRedis(t, append([]string{
			"--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "1000",
			"--cluster-replica-validity-factor", "0", // it is elected however long it was cut off
			"--repl-ping-replica-period", "1", // a replica is not listed before its first byte
			"--appendfsync", "no", // a kill loses what was not written, and fsync writes nothing
		}, args...)...)
		c.ids[node] = node.do("CLUSTER", "MYID").(string)
		node.do("CLUSTER", "SET-CONFIG-EPOCH", i+1)
		if i < masters {
			node.do("CLUSTER", "ADDSLOTSRANGE", slots*i/masters, slots*(i+1)/masters-1)
		}
		host, port := hostPort(node.Addr)
		for _, other := range c.Nodes {
			other.do("CLUSTER", "MEET", host, port, bus)
		}
		c.Nodes = append(c.Nodes, node)
	}
	for i, node := range c.Nodes[masters:] {
		node.await("it knows its master", func() bool {
			return node.Client.ClusterReplicate(context.Background(), c.ids[c.Nodes[i]]).Err() == nil
		})
	}
	c.AwaitReplicas()
	return c
}

// URL names all nodes, as the demo takes it.
func (c *RedisCluster) URL() string { return "redis://" + strings.Join(c.Addrs(), ",") }

// Addrs returns the addresses of all nodes.
func (c *RedisCluster) Addrs() (addrs []string) {
	for _, node := range c.Nodes {
		addrs = append(addrs, node.Addr)
	}
	return addrs
}

// Master returns the node that serves a key.
func (c *RedisCluster) Master(key string) *Redis {
	c.t.Helper()
	return c.shard(c.running()[0], c.slot(key))[0]
}

// Failover kills the master of a key, and returns it when its replica serves in
// its place: started again, it becomes the replica. Nothing is lost that the
// master acknowledged. With lost, the replica is cut off first, and has nothing of
// what the master acknowledges while lost runs.
func (c *RedisCluster) Failover(key string, lost func()) (killed *Redis) {
	c.t.Helper()
	slot := c.slot(key)
	shard := c.shard(c.running()[0], slot)
	if len(shard) != 2 {
		c.t.Fatal("the master has no replica")
	}
	shard[0].killBefore(shard[1], lost)
	c.awaitMaster(slot, shard[1])
	return shard[0]
}

// MoveSlot moves the slot of a key, with all that is in it, to another master.
// It calls halfway when all keys have moved and the slot has not: its old master
// refers clients to the new one, request by request.
func (c *RedisCluster) MoveSlot(key string, halfway func()) {
	c.t.Helper()
	slot, from := c.slot(key), c.Master(key)
	var to *Redis
	for s := range masters {
		if to = c.shard(from, slots*s/masters)[0]; to != from {
			break
		}
	}
	to.do("CLUSTER", "SETSLOT", slot, "IMPORTING", c.ids[from])
	from.do("CLUSTER", "SETSLOT", slot, "MIGRATING", c.ids[to])
	host, port := hostPort(to.Addr)
	for {
		keys, _ := from.do("CLUSTER", "GETKEYSINSLOT", slot, 100).([]any)
		if len(keys) == 0 {
			break
		}
		for _, key := range keys {
			from.do("MIGRATE", host, port, key, 0, 1000)
		}
	}
	halfway()
	to.do("CLUSTER", "SETSLOT", slot, "NODE", c.ids[to])
	from.do("CLUSTER", "SETSLOT", slot, "NODE", c.ids[to])
	c.awaitMaster(slot, to)
}

// AwaitReplicas waits until every master has a replica that follows it.
func (c *RedisCluster) AwaitReplicas() {
	c.t.Helper()
	for _, node := range c.running() {
		node.await("every master has a replica", func() bool {
			for s := range masters {
				shard := c.shard(node, slots*s/masters)
				if len(shard) != 2 || shard[1].info("replication", "master_link_status") != "up" {
					return false
				}
			}
			return c.isUp(node)
		})
	}
}

func (c *RedisCluster) awaitMaster(slot int, master *Redis) {
	c.t.Helper()
	for _, node := range c.running() {
		node.await("everybody knows who serves the slot", func() bool {
			shard := c.shard(node, slot)
			return len(shard) > 0 && shard[0] == master && c.isUp(node)
		})
	}
}

func (c *RedisCluster) isUp(node *Redis) bool {
	info, _ := node.Client.ClusterInfo(context.Background()).Result()
	return strings.Contains(info, "cluster_state:ok")
}

func (c *RedisCluster) running() []*Redis {
	return slices.DeleteFunc(slices.Clone(c.Nodes), func(node *Redis) bool { return node.cmd == nil })
}

func (c *RedisCluster) slot(key string) int {
	c.t.Helper()
	return int(c.running()[0].do("CLUSTER", "KEYSLOT", key).(int64))
}

// shard is who serves a slot, and its replicas, as one of the nodes sees it.
func (c *RedisCluster) shard(node *Redis, slot int) (shard []*Redis) {
	ranges, _ := node.Client.ClusterSlots(context.Background()).Result()
	i := slices.IndexFunc(ranges, func(r redis.ClusterSlot) bool { return r.Start <= slot && slot <= r.End })
	if i < 0 {
		return nil
	}
	for _, n := range ranges[i].Nodes {
		shard = append(shard, c.Nodes[slices.Index(c.Addrs(), n.Addr)])
	}
	return shard
}
