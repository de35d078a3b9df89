package linearizable

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/stretchr/testify/require"
)

// run is one load on a store, and what the clients saw.
type run struct {
	t       *testing.T
	stores  []core.GrantStore // as the instances of an application have them
	deletes bool
	lasts   time.Duration // how long every record does at least
	began   time.Time
	tag     string
	keys    []string

	mu        sync.Mutex
	histories map[string][]porcupine.Operation
	failovers map[string]operation // by the keys that it may lose writes of
}

const (
	groups    = 8 // keys that are worked on at the same time
	clients   = 3 // on each of them
	rounds    = 2 // of each client, a find and a commit, or a delete
	callLimit = 5 * time.Second

	// What was acknowledged this long before a failover may be lost, as the stores document.
	lossWindow = 2 * time.Second
)

type option func(*run)

// withDeletes lets clients delete, too.
func withDeletes(r *run) { r.deletes = true }

// lasting lets no record expire meanwhile. A client that repeats a commit may store
// once more what another has replaced, when that has expired.
func lasting(r *run) { r.lasts = time.Minute }

// withTag has all keys begin with what puts them into one slot of a cluster.
func withTag(tag string) option { return func(r *run) { r.tag = tag } }

func withKeys(n int) option {
	return func(r *run) {
		for range n {
			r.keys = append(r.keys, r.tag+rand.Text())
		}
	}
}

// record visits every key at least once, and until faults has returned. In the end
// it finds what is there.
func record(t *testing.T, stores []core.GrantStore, faults func(*run), options ...option) *run {
	t.Helper()
	r := &run{t: t, stores: stores, began: time.Now(), histories: make(map[string][]porcupine.Operation)}
	for _, o := range options {
		o(r)
	}
	if len(r.keys) == 0 {
		number := 1000
		if v := os.Getenv("MXM_LINEARIZABLE_KEYS"); v != "" {
			var err error
			number, err = strconv.Atoi(v)
			require.NoError(t, err)
		}
		withKeys(number)(r)
	}
	seed := mathrand.Uint64()
	t.Logf("seed %d", seed)

	over := make(chan struct{})
	var load sync.WaitGroup
	for g := range groups {
		load.Go(func() {
			for pass := 0; ; pass++ {
				for i := g; i < len(r.keys); i += groups {
					r.visit(r.keys[i], mathrand.New(mathrand.NewPCG(seed, uint64(pass*len(r.keys)+i))))
				}
				select {
				case <-over:
					r.findAll(g)
					return
				default:
				}
			}
		})
	}
	faults(r)
	close(over)
	load.Wait()
	return r
}

// findAll finds every key of a group.
func (r *run) findAll(group int) {
	for i := group; i < len(r.keys); i += groups {
		c := &client{run: r, store: r.stores[i%len(r.stores)], key: r.keys[i]}
		for {
			if _, ok := c.find(); ok || !c.awaitStore() {
				break
			}
		}
	}
}

// visit has all clients work on one key at once.
func (r *run) visit(key string, dice *mathrand.Rand) {
	var all sync.WaitGroup
	for i := range clients {
		c := &client{run: r, store: r.stores[i%len(r.stores)], key: key, dice: mathrand.New(mathrand.NewPCG(dice.Uint64(), 0))}
		all.Go(func() {
			for range rounds {
				if !c.round() {
					c.awaitStore()
					return
				}
			}
		})
	}
	all.Wait()
}

// client does one thing after the other on one key.
type client struct {
	*run
	store core.GrantStore
	key   string
	dice  *mathrand.Rand
	known []string // versions that were there
}

// round reports whether everything was answered.
func (c *client) round() bool {
	out, ok := c.find()
	if !ok {
		return false
	}
	if out.version != "" {
		c.known = append(c.known, out.version)
	}
	if c.deletes && c.dice.IntN(10) == 0 {
		_, ok := c.call(operation{kind: remove}, callLimit, func(ctx context.Context) error { return c.store.DeleteGrant(ctx, c.key) }, nil)
		return ok
	}
	op := operation{kind: commit, old: out.version, version: rand.Text()}
	switch {
	case c.dice.IntN(8) == 0:
		op.old = "" // as a claim
	case c.dice.IntN(8) == 0 && len(c.known) > 0:
		op.old = c.known[0] // as of long ago
	}
	record := core.Record{Data: []byte(op.version), Version: op.version}
	if c.dice.IntN(2) == 0 {
		left := c.lasts + time.Duration(c.dice.IntN(100))*time.Millisecond
		record.Expiry = time.Now().Add(left)
		op.expiry = record.Expiry.Sub(c.began)
	}
	limit := callLimit
	if c.dice.IntN(20) == 0 {
		limit = time.Duration(c.dice.IntN(3000)) * time.Microsecond // given up in the middle
	}
	out, ok = c.call(op, limit, func(ctx context.Context) error { return c.store.CommitGrant(ctx, c.key, op.old, record) }, nil)
	if ok && !out.conflict {
		c.known = append(c.known, op.version)
	}
	return ok
}

func (c *client) find() (out outcome, ok bool) {
	var r core.Record
	return c.call(operation{kind: find}, callLimit, func(ctx context.Context) (err error) {
		r, _, err = c.store.FindGrant(ctx, c.key)
		return err
	}, func() outcome { return outcome{version: r.Version} })
}

// call does one operation and records it. It reports whether there was an answer.
func (c *client) call(op operation, limit time.Duration, do func(context.Context) error, answer func() outcome) (outcome, bool) {
	ctx, cancel := context.WithTimeout(c.t.Context(), limit)
	defer cancel()
	op.called = time.Since(c.began)
	err := do(ctx)
	op.returned = time.Since(c.began)
	var out outcome
	switch {
	case errors.Is(err, core.ErrConflict):
		out.conflict = true
	case err != nil:
		out.unknown = true
	case answer != nil:
		out = answer()
	}
	if out.unknown && op.kind == find { // which changes nothing
		return out, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.histories[c.key] = append(c.histories[c.key], porcupine.Operation{Input: op, Call: int64(op.called), Output: out, Return: int64(op.returned)})
	return out, !out.unknown
}

// awaitStore waits until the store answers, so that an outage does not fill the
// histories with what nobody knows the outcome of. It reports whether it did.
func (c *client) awaitStore() bool {
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(c.t.Context(), callLimit)
		_, _, err := c.store.FindGrant(ctx, c.key)
		cancel()
		if err == nil {
			return true
		}
		if time.Now().After(deadline) {
			c.t.Errorf("the store does not come back: %v", err)
			return false
		}
	}
}

// illegal returns the histories that cannot be, and how many of all operations
// have an unknown outcome.
func (r *run) illegal() (histories []string, unknown int) {
	r.t.Helper()
	end := time.Since(r.began)
	var jobs sync.WaitGroup
	var mu sync.Mutex
	turns := make(chan struct{}, 4)
	for key, history := range r.histories {
		f, failedOver := r.failovers[key]
		for i := range history {
			op := history[i].Input.(operation)
			if history[i].Output.(outcome).unknown {
				unknown++
				op.returned = end
				history[i].Return = int64(end)
			}
			op.lost = failedOver && op.called <= f.returned && op.returned >= f.called-lossWindow
			history[i].Input = op
		}
		if failedOver {
			history = append(history, porcupine.Operation{Input: f, Call: int64(f.called), Output: outcome{}, Return: int64(f.returned)})
		}
		jobs.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			switch porcupine.CheckOperationsTimeout(model, history, time.Minute) {
			case porcupine.Illegal:
				mu.Lock()
				histories = append(histories, describe(key, history))
				mu.Unlock()
			case porcupine.Unknown:
				r.t.Errorf("not judged within a minute: %s", describe(key, history))
			}
		})
	}
	jobs.Wait()
	return histories, unknown
}

func (r *run) requireLegal() {
	r.t.Helper()
	histories, unknown := r.illegal()
	operations := 0
	for _, history := range r.histories {
		operations += len(history)
	}
	r.t.Logf("%d keys, %d operations of which %d without an answer, recorded in %v", len(r.histories), operations, unknown, time.Since(r.began).Round(time.Second))
	require.Len(r.t, r.histories, len(r.keys))
	if len(histories) > 0 {
		r.t.Fatalf("%d histories cannot be; one is\n%s", len(histories), histories[0])
	}
	require.Positive(r.t, unknown, "no fault was noticed")
}

// requireIllegal wants a mutant convicted.
func (r *run) requireIllegal() {
	r.t.Helper()
	histories, _ := r.illegal()
	r.t.Logf("%d of %d histories cannot be", len(histories), len(r.histories))
	require.NotEmpty(r.t, histories)
}

func describe(key string, history []porcupine.Operation) string {
	var b strings.Builder
	fmt.Fprintln(&b, key)
	history = slices.Clone(history)
	slices.SortFunc(history, func(a, b porcupine.Operation) int { return cmp.Compare(a.Call, b.Call) })
	for _, h := range history {
		op, out := h.Input.(operation), h.Output.(outcome)
		fmt.Fprintf(&b, "%v to %v: ", op.called, op.returned)
		switch op.kind {
		case find:
			fmt.Fprintf(&b, "found %.4q", out.version)
		case commit:
			fmt.Fprintf(&b, "commit %.4q over %.4q, expiry %v", op.version, op.old, op.expiry)
		case remove:
			fmt.Fprint(&b, "delete")
		case failover:
			fmt.Fprint(&b, "failover")
		}
		switch {
		case out.conflict:
			fmt.Fprint(&b, ": conflict")
		case out.unknown:
			fmt.Fprint(&b, ": no answer")
		}
		if op.lost {
			fmt.Fprint(&b, " (may be lost)")
		}
		fmt.Fprintln(&b)
	}
	return b.String()
}
