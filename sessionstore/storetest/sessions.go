package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/mxmconnect/mxmconnect/core"
)

// RunSessions checks that a store keeps the contract of [scs.CtxStore] and the
// promise that makes logout final: a session that was deleted, or renewed away,
// does not come back, whatever a slower request commits afterwards.
func RunSessions(t *testing.T, newStore func(t *testing.T) scs.CtxStore) {
	run(t, "Sessions", append(sessionCases, managerCases...), newStore)
}

type sessionCase = testCase[scs.CtxStore]

const (
	blink  = 700 * time.Millisecond // how long a session lives whose end a case waits for
	slack  = 100 * time.Millisecond // how much too early an engine may end it, rounding
	linger = 2 * time.Second        // how much too late
)

var sessionCases = []sessionCase{
	{"commit and find", "Find returns what Commit stored.", func(t *testing.T, s scs.CtxStore) {
		token := unique()
		commit(t, s, token, "data", time.Hour)
		wantSession(t, s, token, "data")
	}},
	{"unknown", "A token that is not found is found=false and no error; so is a malformed one.", func(t *testing.T, s scs.CtxStore) {
		for _, token := range malformed {
			wantNoSession(t, s, token)
		}
	}},
	{"overwrite", "Committing an existing token overwrites its data.", func(t *testing.T, s scs.CtxStore) {
		token := unique()
		commit(t, s, token, "a longer first value", time.Hour)
		commit(t, s, token, "second", time.Hour)
		wantSession(t, s, token, "second")
	}},
	{"extend", "Committing an existing token overwrites its expiry: it lives longer.", func(t *testing.T, s scs.CtxStore) {
		token, end := unique(), time.Now().Add(blink)
		commit(t, s, token, "1", time.Until(end))
		commit(t, s, token, "2", time.Hour)
		time.Sleep(time.Until(end) + slack)
		wantSession(t, s, token, "2")
	}},
	{"shorten", "Committing an existing token overwrites its expiry: it ends sooner.", func(t *testing.T, s scs.CtxStore) {
		token, end := unique(), time.Now().Add(blink)
		commit(t, s, token, "1", time.Hour)
		commit(t, s, token, "2", time.Until(end))
		wantSessionUntil(t, s, token, end)
	}},
	{"expiry", "A session is found until it expires, and not afterwards.", func(t *testing.T, s scs.CtxStore) {
		token, end := unique(), time.Now().Add(blink)
		commit(t, s, token, "data", time.Until(end))
		wantSessionUntil(t, s, token, end)
	}},
	{"expired starts afresh", "A commit to a token whose session has merely expired stores a new one.", func(t *testing.T, s scs.CtxStore) {
		token, end := unique(), time.Now().Add(blink)
		commit(t, s, token, "1", time.Until(end))
		wantSessionUntil(t, s, token, end)
		commit(t, s, token, "2", time.Hour)
		wantSession(t, s, token, "2")
	}},
	{"far expiry", "An expiry may be centuries away.", func(t *testing.T, s scs.CtxStore) {
		token := unique()
		if err := s.CommitCtx(t.Context(), token, []byte("data"), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)); err != nil {
			t.Fatalf("Commit: %v", err)
		}
		wantSession(t, s, token, "data")
		remove(t, s, token)
		commit(t, s, token, "late", time.Hour)
		wantNoSession(t, s, token)
	}},
	{"past expiry", "A session committed with an expiry that has passed is not found, and is no error.", func(t *testing.T, s scs.CtxStore) {
		for _, ago := range []time.Duration{0, time.Second, 1000 * time.Hour} {
			token := unique()
			commit(t, s, token, "1", time.Hour)
			commit(t, s, token, "2", -ago)
			wantNoSession(t, s, token)
		}
		token := unique()
		if err := s.CommitCtx(t.Context(), token, nil, time.Time{}); err != nil {
			t.Fatalf("Commit with the zero time: %v", err)
		}
		wantNoSession(t, s, token)
	}},
	{"delete", "A deleted session is not found.", func(t *testing.T, s scs.CtxStore) {
		token, other := unique(), unique()
		commit(t, s, token, "data", time.Hour)
		commit(t, s, other, "other", time.Hour)
		remove(t, s, token)
		wantNoSession(t, s, token)
		wantSession(t, s, other, "other")
	}},
	{"delete unknown", "Deleting a token that does not exist is no error and leaves nothing behind.", func(t *testing.T, s scs.CtxStore) {
		for _, token := range malformed {
			remove(t, s, token)
		}
		token := unique()
		remove(t, s, token)
		remove(t, s, token)
		commit(t, s, token, "data", time.Hour)
		wantSession(t, s, token, "data")
	}},
	{"delete expired", "Deleting a session that has expired leaves nothing behind.", func(t *testing.T, s scs.CtxStore) {
		token, end := unique(), time.Now().Add(blink)
		commit(t, s, token, "1", time.Until(end))
		wantSessionUntil(t, s, token, end)
		remove(t, s, token)
		commit(t, s, token, "2", time.Hour)
		wantSession(t, s, token, "2")
	}},
	{"deleted stays deleted", "A commit after a delete is dropped and returns nil, whatever its expiry and however often.", func(t *testing.T, s scs.CtxStore) {
		token := unique()
		commit(t, s, token, "data", time.Hour)
		remove(t, s, token)
		for _, ttl := range []time.Duration{time.Hour, 48 * time.Hour, -time.Hour, time.Minute, 0, time.Hour} {
			commit(t, s, token, "late", ttl)
			wantNoSession(t, s, token)
		}
		remove(t, s, token)
		commit(t, s, token, "late", time.Hour)
		wantNoSession(t, s, token)
	}},
	{"deleted outlives its life", "A late commit is dropped even when it moves the end of a session whose life is over.", func(t *testing.T, s scs.CtxStore) {
		var token string
		end := before(t, func(end time.Time) error {
			token = unique()
			return errors.Join(s.CommitCtx(t.Context(), token, []byte("data"), end), s.DeleteCtx(t.Context(), token))
		})
		time.Sleep(time.Until(end) + slack)
		commit(t, s, token, "late", time.Hour)
		wantNoSession(t, s, token)
	}},
	{"deleted before it began", "A session that is committed empty and deleted, before it was ever committed, does not begin.", func(t *testing.T, s scs.CtxStore) {
		token := unique()
		commit(t, s, token, "", time.Hour)
		remove(t, s, token)
		commit(t, s, token, "late", 2*time.Hour)
		wantNoSession(t, s, token)
	}},
	{"says so", "A store that keeps deleted sessions deleted declares it, by KeepsDeleted() bool.", func(t *testing.T, s scs.CtxStore) {
		if !keepsDeleted(s) {
			t.Fatal("the store has no method KeepsDeleted that returns true, so core.Auth.SignOutEverywhere does not use it")
		}
	}},
	{"every interleaving", "In whatever order two slow requests and a logout load, commit and delete, the session is gone.", everyInterleaving},
	{"concurrent commit and delete", "A session that 20 goroutines commit while another deletes it is gone when the delete returns, and stays so.", func(t *testing.T, s scs.CtxStore) {
		for range 10 {
			token := unique()
			commit(t, s, token, "first", time.Hour)
			var wg, first sync.WaitGroup
			first.Add(20)
			deleted := make(chan struct{})
			for i := range 20 {
				wg.Go(func() {
					done := sync.OnceFunc(first.Done)
					for late := false; !late; {
						select {
						case <-deleted:
							late = true // once more, certainly after the delete
						default:
						}
						err := s.CommitCtx(t.Context(), token, fmt.Append(nil, i), time.Now().Add(time.Hour))
						done()
						if err != nil {
							t.Errorf("Commit: %v", err)
							return
						}
					}
				})
			}
			first.Wait() // now all are busy committing
			err := s.DeleteCtx(t.Context(), token)
			_, found, ferr := s.FindCtx(t.Context(), token)
			close(deleted)
			wg.Wait()
			if err != nil || ferr != nil || found {
				t.Fatalf("Delete = %v, then Find = %v, %v", err, found, ferr)
			}
			wantNoSession(t, s, token)
		}
	}},
	{"values", "Data is any bytes, from none to a megabyte.", func(t *testing.T, s scs.CtxStore) {
		for _, b := range values() {
			token := unique()
			commit(t, s, token, string(b), time.Hour)
			wantSession(t, s, token, string(b))
		}
	}},
	{"ownership", "The store keeps a copy: a caller may change what it gave and what it got.", func(t *testing.T, s scs.CtxStore) {
		token, b := unique(), []byte("data")
		if err := s.CommitCtx(t.Context(), token, b, time.Now().Add(time.Hour)); err != nil {
			t.Fatalf("Commit: %v", err)
		}
		copy(b, "XXXX")
		got, _, err := s.FindCtx(t.Context(), token)
		if err != nil || string(got) != "data" {
			t.Fatalf("Find = %q, %v after the caller changed what it gave, want %q", got, err, "data")
		}
		copy(got, "YYYY")
		wantSession(t, s, token, "data")
	}},
	{"tokens are told apart", "Tokens that differ in a single byte, in case, or in a trailing space are different sessions.", func(t *testing.T, s scs.CtxStore) {
		base := unique()
		tokens := []string{base, strings.ToLower(base), base + " ", " " + base, base + "a", base[:len(base)-1], base + "%", base + "*"}
		for i, token := range tokens {
			commit(t, s, token, fmt.Sprint(i), time.Hour)
		}
		for i, token := range tokens {
			wantSession(t, s, token, fmt.Sprint(i))
		}
		remove(t, s, base)
		for i, token := range tokens[1:] {
			wantSession(t, s, token, fmt.Sprint(i+1))
		}
	}},
	{"context", "A context that is done is an error, and nothing is changed.", func(t *testing.T, s scs.CtxStore) {
		for name, done := range doneContexts(t) {
			token, other := unique(), unique()
			commit(t, s, token, "data", time.Hour)
			if _, found, err := s.FindCtx(done, token); err == nil || found {
				t.Errorf("%s: Find = found %v, error %v; want an error", name, found, err)
			}
			if err := s.CommitCtx(done, other, nil, time.Now().Add(time.Hour)); err == nil {
				t.Errorf("%s: Commit returned no error", name)
			}
			if err := s.DeleteCtx(done, token); err == nil {
				t.Errorf("%s: Delete returned no error", name)
			}
			wantSession(t, s, token, "data")
			wantNoSession(t, s, other)
		}
	}},
	{"without a context", "Find, Commit and Delete do what their siblings with a context do.", func(t *testing.T, s scs.CtxStore) {
		token := unique()
		if err := s.Commit(token, []byte("data"), time.Now().Add(time.Hour)); err != nil {
			t.Fatalf("Commit: %v", err)
		}
		wantSession(t, s, token, "data")
		if b, found, err := s.Find(token); err != nil || !found || string(b) != "data" {
			t.Fatalf("Find = %q, %v, %v", b, found, err)
		}
		if err := s.Delete(token); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		if err := s.Commit(token, []byte("late"), time.Now().Add(time.Hour)); err != nil {
			t.Fatalf("late Commit: %v", err)
		}
		if _, found, err := s.Find(token); err != nil || found {
			t.Fatalf("Find after Delete = %v, %v", found, err)
		}
		wantNoSession(t, s, token)
	}},
	{"apart from grants", "A session and a grant of the same name are two things.", func(t *testing.T, s scs.CtxStore) {
		g, ok := s.(core.GrantStore)
		if !ok {
			t.Skip("the store keeps no grants")
		}
		key := unique()
		commit(t, s, key, "session", time.Hour)
		create(t, g, key, core.Record{Data: []byte("grant"), Version: "1"})
		wantSession(t, s, key, "session")
		wantGrant(t, g, key, "1", "grant")
		remove(t, s, key)
		wantGrant(t, g, key, "1", "grant")

		key = unique()
		create(t, g, key, core.Record{Data: []byte("grant"), Version: "1"})
		wantNoSession(t, s, key)
		commit(t, s, key, "session", time.Hour)
		if err := g.DeleteGrant(t.Context(), key); err != nil {
			t.Fatalf("DeleteGrant: %v", err)
		}
		wantSession(t, s, key, "session")
	}},
}

func keepsDeleted(s any) bool {
	k, ok := s.(interface{ KeepsDeleted() bool })
	return ok && k.KeepsDeleted()
}

// everyInterleaving plays all 90 orders of two slow requests and a logout.
func everyInterleaving(t *testing.T, s scs.CtxStore) {
	const steps = 2 // of each of the three
	var play func(order []int, left [3]int)
	play = func(order []int, left [3]int) {
		if len(order) == 3*steps {
			interleave(t, s, order)
			return
		}
		for who := range left {
			if left[who] > 0 {
				next := left
				next[who]--
				play(append(order[:len(order):len(order)], who), next)
			}
		}
	}
	play(nil, [3]int{steps, steps, steps})
}

func interleave(t *testing.T, s scs.CtxStore, order []int) {
	t.Helper()
	token := unique()
	commit(t, s, token, "first", time.Hour)
	var loaded [3]bool
	deleted := false
	for _, who := range order {
		switch {
		case !loaded[who]:
			loaded[who] = true
			if _, found, err := s.FindCtx(t.Context(), token); err != nil || found == deleted {
				t.Fatalf("order %v: Find = %v, %v with deleted = %v", order, found, err, deleted)
			}
		case who == 2:
			remove(t, s, token)
			deleted = true
		default:
			commit(t, s, token, "slow", time.Duration(who+1)*time.Hour)
		}
		if _, found, err := s.FindCtx(t.Context(), token); err != nil || found == deleted {
			t.Fatalf("order %v: Find = %v, %v with deleted = %v", order, found, err, deleted)
		}
	}
}

var malformed = []string{"", " ", "unknown", "\x00", "a\x00b", "\xff\xfe", "' OR 1=1 --", "{a}", "*", "ключ", strings.Repeat("x", 64<<10)}

func values() [][]byte {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return [][]byte{nil, {0}, []byte("null"), all, bytes.Repeat(all, 4096)}
}

func doneContexts(t *testing.T) map[string]context.Context {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	t.Cleanup(cancel)
	cause, cancelCause := context.WithCancelCause(t.Context())
	cancelCause(errors.New("a cause of its own"))
	return map[string]context.Context{"canceled": canceled, "past its deadline": expired, "with a cause": cause}
}

func commit(t *testing.T, s scs.CtxStore, token, data string, ttl time.Duration) {
	t.Helper()
	if err := s.CommitCtx(t.Context(), token, []byte(data), time.Now().Add(ttl)); err != nil {
		t.Fatalf("Commit: %v", err)
	}
}

// before returns an expiry that prepare was given and was done before. A slow
// engine gets a later one.
func before(t *testing.T, prepare func(end time.Time) error) time.Time {
	t.Helper()
	for life := blink; ; life *= 2 {
		end := time.Now().Add(life)
		err := prepare(end)
		if !time.Now().Before(end.Add(-slack)) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return end
	}
}

func remove(t *testing.T, s scs.CtxStore, token string) {
	t.Helper()
	if err := s.DeleteCtx(t.Context(), token); err != nil {
		t.Fatalf("Delete: %v", err)
	}
}

func wantSession(t *testing.T, s scs.CtxStore, token, data string) {
	t.Helper()
	b, found, err := s.FindCtx(t.Context(), token)
	if err != nil || !found || string(b) != data {
		t.Fatalf("Find = %s, %v, %v; want %s", short(b), found, err, short([]byte(data)))
	}
}

func wantNoSession(t *testing.T, s scs.CtxStore, token string) {
	t.Helper()
	b, found, err := s.FindCtx(t.Context(), token)
	if err != nil || found {
		t.Fatalf("Find = %s, %v, %v; want it not found", short(b), found, err)
	}
}

func wantSessionUntil(t *testing.T, s scs.CtxStore, token string, end time.Time) {
	t.Helper()
	wantUntil(t, end, func() (bool, error) {
		_, found, err := s.FindCtx(t.Context(), token)
		return found, err
	})
}

// wantUntil watches something that expires.
func wantUntil(t *testing.T, end time.Time, find func() (bool, error)) {
	t.Helper()
	for {
		found, err := find()
		switch now := time.Now(); { // read after the answer: a slow machine makes it later, never earlier
		case err != nil:
			t.Fatalf("Find: %v", err)
		case !found && now.Before(end.Add(-slack)):
			t.Fatalf("not found %v before its expiry", end.Sub(now))
		case !found:
			return
		case now.After(end.Add(linger)):
			t.Fatalf("still found %v after its expiry", now.Sub(end))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func short(b []byte) string {
	if len(b) > 40 {
		return fmt.Sprintf("%q… (%d bytes)", b[:40], len(b))
	}
	return fmt.Sprintf("%q", b)
}
