package redisstore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// position is a cursor: where in a sweep a page begins. The zero position is the
// beginning of a sweep.
type position struct {
	Slots  string `json:",omitempty"` // who served which slots when the sweep began; of a cluster
	Master string `json:",omitempty"` // the address of the master to scan; of a cluster
	Run    string `json:",omitempty"` // the server process that Scan is a cursor of
	Scan   uint64 `json:",omitempty"`
}

var (
	errMoved    = errors.New("redisstore: the sweep cannot go on where it was")
	errChanging = errors.New("redisstore: the cluster is changing; try again")
)

// ListGrants implements [core.GrantLister]. It scans one master after the other,
// without an index that could disagree with the keys. A page is what one SCAN of
// limit keys finds: sessions and the keys of others count, so it may be empty.
//
// The cursor of a SCAN means nothing to another server, nor to the same one after
// a restart. So after a failover or a restart, or when slots have moved, the sweep
// begins again.
func (s *Store) ListGrants(ctx context.Context, cursor string, limit int) (keys []string, next string, err error) {
	if limit < 1 {
		return nil, "", errors.New("redisstore: a page needs a limit of at least 1")
	}
	var at position
	if json.Unmarshal([]byte(cursor), &at) != nil {
		at = position{}
	}
	keys, next, err = s.list(ctx, at, limit)
	if errors.Is(err, errMoved) {
		keys, next, err = s.list(ctx, position{}, limit)
	}
	return keys, next, err
}

func (s *Store) list(ctx context.Context, at position, limit int) (keys []string, next string, err error) {
	masters, err := s.masters(ctx)
	if err != nil {
		return nil, "", s.failed(ctx, err)
	}
	i := slices.IndexFunc(masters, func(m master) bool { return m.addr == at.Master })
	if at == (position{}) {
		i = 0
	}
	if i < 0 {
		return nil, "", errMoved
	}
	page, err := s.scan(ctx, masters[i], at.Scan, int64(limit))
	if err != nil {
		return nil, "", s.failed(ctx, err)
	}
	if at.Slots != "" && at.Slots != page.slots || at.Scan != 0 && at.Run != page.run {
		return nil, "", errMoved
	}
	if page.masters != len(masters) {
		return nil, "", errChanging
	}
	after := position{page.slots, masters[i].addr, page.run, page.next}
	if page.next == 0 {
		if i++; i == len(masters) {
			return page.keys, "", nil
		}
		after = position{Slots: page.slots, Master: masters[i].addr}
	}
	b, err := json.Marshal(after)
	return page.keys, string(b), err
}

type master struct {
	addr   string
	client redis.UniversalClient
}

// masters returns the masters of a cluster in the order of their addresses, and
// else the one server, which has no address that would tell it from others.
func (s *Store) masters(ctx context.Context) (masters []master, err error) {
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok {
		return []master{{"", s.client}}, nil
	}
	var mu sync.Mutex
	err = cluster.ForEachMaster(ctx, func(_ context.Context, c *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		masters = append(masters, master{c.Options().Addr, c})
		return nil
	})
	slices.SortFunc(masters, func(a, b master) int { return strings.Compare(a.addr, b.addr) })
	return masters, err
}

// scanned is what a master found, and what it said right afterwards.
type scanned struct {
	keys    []string
	next    uint64
	run     string // its process
	slots   string // who serves which slots
	masters int    // how many these are
}

func (s *Store) scan(ctx context.Context, m master, cursor uint64, count int64) (found scanned, err error) {
	cluster, isCluster := s.client.(*redis.ClusterClient)
	askSlots := isCluster && cluster.Options().ClusterSlots == nil // otherwise the application knows, or a sentinel

	pipe := m.client.Pipeline()
	scan := pipe.Scan(ctx, cursor, escape.Replace(s.grantKey(""))+"*", count)
	info := pipe.Info(ctx)
	var slots *redis.ClusterSlotsCmd
	if askSlots {
		slots = pipe.ClusterSlots(ctx)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return scanned{}, err
	}
	found = scanned{run: field(info.Val(), "run_id"), masters: 1}
	found.keys, found.next = scan.Val()
	for i, key := range found.keys {
		found.keys[i] = strings.TrimPrefix(key, s.grantKey(""))
	}
	if !isCluster {
		return found, nil
	}
	if role := field(info.Val(), "role"); role != "master" {
		return scanned{}, fmt.Errorf("the server %s is no master any more: its role is %s", m.addr, role)
	}
	var served []redis.ClusterSlot
	if askSlots {
		served = slots.Val()
	} else if served, err = cluster.Options().ClusterSlots(ctx); err != nil {
		return scanned{}, err
	}
	found.slots, found.masters = summary(served)
	return found, nil
}

// summary returns a hash of who serves which slots, and how many these are.
func summary(served []redis.ClusterSlot) (hash string, masters int) {
	slices.SortFunc(served, func(a, b redis.ClusterSlot) int { return cmp.Compare(a.Start, b.Start) })
	sum, seen := fnv.New64a(), make(map[string]bool)
	for _, r := range served {
		if len(r.Nodes) > 0 {
			id := cmp.Or(r.Nodes[0].ID, r.Nodes[0].Addr)
			seen[id] = true
			fmt.Fprintln(sum, r.Start, r.End, id)
		}
	}
	return fmt.Sprintf("%x", sum.Sum64()), len(seen)
}

// escape makes a prefix match itself only.
var escape = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`)
