package storetest

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/mxmconnect/mxmconnect/core"
)

// Lister is a store of grants that lists their keys.
type Lister interface {
	core.GrantStore
	core.GrantLister
}

// RunLister checks that a store keeps the contract of [core.GrantLister].
func RunLister(t *testing.T, newStore func(t *testing.T) Lister) {
	run(t, "Lister", listerCases, newStore)
}

type listerCase = testCase[Lister]

var listerCases = []listerCase{
	{"quiet sweep", "A sweep ends, and returns each key that is in the store.", func(t *testing.T, s Lister) {
		keys := createMany(t, s, 100)
		for _, limit := range []int{7, 100, 5000} {
			wantListed(t, sweep(t, s, "", limit), keys)
		}
	}},
	{"page", "A page has about limit keys: it may have a few more, and not a multiple.", func(t *testing.T, s Lister) {
		createMany(t, s, 300)
		const limit = 50
		for page := range pages(t, s, "", limit) {
			if len(page) > 2*limit {
				t.Fatalf("a page has %d keys, and limit is %d", len(page), limit)
			}
		}
	}},
	{"keys as they are", "A key is returned as it was given, whatever characters it has.", func(t *testing.T, s Lister) {
		base := unique()
		var visible strings.Builder
		for c := byte('!'); c <= '~'; c++ {
			visible.WriteByte(c)
		}
		long := base + visible.String()
		keys := []string{base, base + "a", base + "A", base + "*", base + "?", base + ":grant:" + base, "{" + base + "}", long[:128]}
		for _, key := range keys {
			create(t, s, key, core.Record{Version: "v1"})
		}
		wantListed(t, sweep(t, s, "", 100), keys)
	}},
	{"gone", "A key that was deleted, or has expired, before the sweep is not returned.", func(t *testing.T, s Lister) {
		deleted, expired, past, end := unique(), unique(), unique(), time.Now().Add(blink)
		create(t, s, deleted, core.Record{Version: "v1"})
		if err := s.DeleteGrant(t.Context(), deleted); err != nil {
			t.Fatalf("DeleteGrant: %v", err)
		}
		create(t, s, expired, core.Record{Version: "v1", Expiry: end})
		create(t, s, past, core.Record{Version: "v1", Expiry: time.Now().Add(-time.Minute)})
		time.Sleep(time.Until(end) + slack)
		seen := sweep(t, s, "", 100)
		for _, key := range []string{deleted, expired, past} {
			if seen[key] {
				t.Fatalf("it returned one of the keys that are gone: %s", key)
			}
		}
	}},
	{"with and without an expiry", "A key is returned until its record expires.", func(t *testing.T, s Lister) {
		keys := []string{unique(), unique()}
		create(t, s, keys[0], core.Record{Version: "v1", Expiry: time.Now().Add(time.Hour)})
		create(t, s, keys[1], core.Record{Version: "v1"})
		wantListed(t, sweep(t, s, "", 100), keys)
	}},
	{"sessions", "A store that keeps sessions, too, does not list them.", func(t *testing.T, s Lister) {
		sessions, ok := s.(scs.CtxStore)
		if !ok {
			t.Skip("this store keeps no sessions")
		}
		live, ended, end := unique(), unique(), time.Now().Add(time.Hour)
		for _, token := range []string{live, ended} {
			if err := sessions.CommitCtx(t.Context(), token, []byte("data"), end); err != nil {
				t.Fatalf("CommitCtx: %v", err)
			}
		}
		if err := sessions.DeleteCtx(t.Context(), ended); err != nil {
			t.Fatalf("DeleteCtx: %v", err)
		}
		for key := range sweep(t, s, "", 100) {
			if strings.Contains(key, live) || strings.Contains(key, ended) {
				t.Fatalf("it returned a session: %s", key)
			}
		}
	}},
	{"deleted as they are returned", "Keys that are deleted during a sweep hide no other one.", func(t *testing.T, s Lister) {
		deleted, kept := createMany(t, s, 100), createMany(t, s, 100)
		seen := make(map[string]bool)
		for page := range pages(t, s, "", 10) {
			for _, key := range page {
				seen[key] = true
				if slices.Contains(deleted, key) {
					if err := s.DeleteGrant(t.Context(), key); err != nil {
						t.Fatalf("DeleteGrant: %v", err)
					}
				}
			}
		}
		wantListed(t, seen, kept)
	}},
	{"writes meanwhile", "A sweep ends, and returns each key that is in the store throughout, whatever is created, replaced and deleted meanwhile.", func(t *testing.T, s Lister) {
		kept := createMany(t, s, 100)
		write := func() error {
			key, v1, v2, deleted := unique(), unique(), unique(), unique()
			return errors.Join(
				s.CommitGrant(t.Context(), key, "", core.Record{Version: v1}),
				s.CommitGrant(t.Context(), key, v1, core.Record{Version: v2}),
				s.CommitGrant(t.Context(), deleted, "", core.Record{Version: v1}),
				s.DeleteGrant(t.Context(), deleted))
		}
		stop := make(chan struct{})
		var wg sync.WaitGroup
		defer func() { close(stop); wg.Wait() }()
		for range 4 { // beside the calls
			wg.Go(func() {
				for range 1000 {
					select {
					case <-stop:
						return
					default:
					}
					if err := write(); err != nil {
						t.Errorf("a write during the sweep: %v", err)
						return
					}
				}
			})
		}
		seen := make(map[string]bool)
		for page := range pages(t, s, "", 20) {
			for _, key := range page {
				seen[key] = true
			}
			if err := write(); err != nil { // between them
				t.Fatalf("a write during the sweep: %v", err)
			}
		}
		wantListed(t, seen, kept)
	}},
	{"cursor again", "A cursor serves as often as wanted.", func(t *testing.T, s Lister) {
		keys := createMany(t, s, 100)
		seen, cursor := make(map[string]bool), ""
		for range 3 {
			page, next, err := s.ListGrants(t.Context(), cursor, 10)
			if err != nil {
				t.Fatalf("ListGrants: %v", err)
			}
			for _, key := range page {
				seen[key] = true
			}
			if cursor = next; next == "" {
				t.Fatal("the sweep ended before it returned each key")
			}
		}
		for range 2 {
			rest := sweep(t, s, cursor, 10)
			maps.Copy(rest, seen)
			wantListed(t, rest, keys)
		}
	}},
	{"no cursor", "With a cursor at which the store cannot go on, the sweep begins again and hides no key.", func(t *testing.T, s Lister) {
		keys := createMany(t, s, 100)
		for _, cursor := range []string{"garbage", "~", "{", "{}", `"`, "\x00", " ", slices.Max(keys), strings.Repeat("z", 300)} {
			wantListed(t, sweep(t, s, cursor, 100), keys)
		}
	}},
	{"limit", "A limit below 1 is an error.", func(t *testing.T, s Lister) {
		createMany(t, s, 1)
		for _, limit := range []int{0, -1} {
			if keys, next, err := s.ListGrants(t.Context(), "", limit); err == nil || len(keys) > 0 || next != "" {
				t.Fatalf("ListGrants with limit %d = %d keys, next %q, %v; want an error", limit, len(keys), next, err)
			}
		}
	}},
	{"context", "A context that is done is an error.", func(t *testing.T, s Lister) {
		createMany(t, s, 1)
		for name, done := range doneContexts(t) {
			if keys, next, err := s.ListGrants(done, "", 10); err == nil || len(keys) > 0 || next != "" {
				t.Errorf("%s: ListGrants = %d keys, next %q, %v; want an error", name, len(keys), next, err)
			}
		}
	}},
}

func createMany(t *testing.T, s core.GrantStore, n int) (keys []string) {
	t.Helper()
	for range n {
		key := unique()
		create(t, s, key, core.Record{Data: []byte("data"), Version: "v1"})
		keys = append(keys, key)
	}
	return keys
}

// pages yields the pages of a sweep. One that does not end is a failure.
func pages(t *testing.T, s core.GrantLister, cursor string, limit int) func(yield func([]string) bool) {
	t.Helper()
	return func(yield func([]string) bool) {
		for range 10 * attempts {
			keys, next, err := s.ListGrants(t.Context(), cursor, limit)
			if err != nil {
				t.Fatalf("ListGrants: %v", err)
			}
			if !yield(keys) || next == "" {
				return
			}
			cursor = next
		}
		t.Fatalf("the sweep has not ended after %d pages", 10*attempts)
	}
}

func sweep(t *testing.T, s core.GrantLister, cursor string, limit int) map[string]bool {
	t.Helper()
	seen := make(map[string]bool)
	for page := range pages(t, s, cursor, limit) {
		for _, key := range page {
			seen[key] = true
		}
	}
	return seen
}

func wantListed(t *testing.T, seen map[string]bool, keys []string) {
	t.Helper()
	missing := slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return seen[key] })
	if len(missing) > 0 {
		t.Fatalf("%d of %d keys were not returned, such as %s", len(missing), len(keys), missing[0])
	}
}
