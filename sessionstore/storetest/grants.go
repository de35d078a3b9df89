package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
)

// RunGrants checks that a store keeps the contract of [core.GrantStore].
func RunGrants(t *testing.T, newStore func(t *testing.T) core.GrantStore) {
	run(t, "Grants", grantCases, newStore)
}

// attempts is how often a case tries again before it calls a store stuck.
const attempts = 5000

type grantCase = testCase[core.GrantStore]

var grantCases = []grantCase{
	{"absent", "A record that is absent is found=false and no error.", func(t *testing.T, s core.GrantStore) {
		wantNoGrant(t, s, unique())
	}},
	{"create", "With old empty, CommitGrant creates a record, and FindGrant returns its data, version and expiry.", func(t *testing.T, s core.GrantStore) {
		key, end := unique(), time.Now().Add(time.Hour)
		create(t, s, key, core.Record{Data: []byte("data"), Version: "v1", Expiry: end})
		if r := wantGrant(t, s, key, "v1", "data"); r.Expiry.Sub(end).Abs() > time.Second {
			t.Fatalf("the expiry is %v off", r.Expiry.Sub(end))
		}
	}},
	{"zero expiry", "A record without an expiry has none when it is found.", func(t *testing.T, s core.GrantStore) {
		key := unique()
		create(t, s, key, core.Record{Version: "v1"})
		if r := wantGrant(t, s, key, "v1", ""); !r.Expiry.IsZero() {
			t.Fatalf("it expires %v", r.Expiry)
		}
	}},
	{"create over a record", "With old empty, CommitGrant does not touch a record that is there: ErrConflict.", func(t *testing.T, s core.GrantStore) {
		key := unique()
		create(t, s, key, core.Record{Data: []byte("first"), Version: "v1"})
		wantConflict(t, s, key, "", "v2")
		wantGrant(t, s, key, "v1", "first")
	}},
	{"replace", "With the stored version, CommitGrant replaces the record.", func(t *testing.T, s core.GrantStore) {
		key := unique()
		create(t, s, key, core.Record{Data: []byte("first"), Version: "v1"})
		mustReplace(t, s, key, "v1", core.Record{Data: []byte("second"), Version: "v2"})
		wantGrant(t, s, key, "v2", "second")
	}},
	{"replace another version", "With a version that is not the stored one, nothing changes: ErrConflict.", func(t *testing.T, s core.GrantStore) {
		key := unique()
		create(t, s, key, core.Record{Data: []byte("first"), Version: "v1"})
		mustReplace(t, s, key, "v1", core.Record{Data: []byte("second"), Version: "v2"})
		for _, old := range []string{"v1", "v", "V2", "v2 ", "v22", "0", "nil", "%"} {
			wantConflict(t, s, key, old, "v3")
		}
		wantGrant(t, s, key, "v2", "second")
	}},
	{"replace what is absent", "With a version, CommitGrant creates nothing: ErrConflict.", func(t *testing.T, s core.GrantStore) {
		key := unique()
		wantConflict(t, s, key, "v1", "v2")
		wantNoGrant(t, s, key)
	}},
	{"delete", "A deleted record is absent, and deleting it again is no error.", func(t *testing.T, s core.GrantStore) {
		key, other := unique(), unique()
		create(t, s, key, core.Record{Version: "v1"})
		create(t, s, other, core.Record{Version: "v1"})
		for range 2 {
			if err := s.DeleteGrant(t.Context(), key); err != nil {
				t.Fatalf("DeleteGrant: %v", err)
			}
			wantNoGrant(t, s, key)
		}
		wantGrant(t, s, other, "v1", "")
	}},
	{"deleted and created again", "A record that was deleted and created again does not answer to its old version.", func(t *testing.T, s core.GrantStore) {
		key := unique()
		create(t, s, key, core.Record{Version: "v1"})
		if err := s.DeleteGrant(t.Context(), key); err != nil {
			t.Fatalf("DeleteGrant: %v", err)
		}
		wantConflict(t, s, key, "v1", "v2")
		create(t, s, key, core.Record{Data: []byte("new"), Version: "v3"})
		wantConflict(t, s, key, "v1", "v4")
		wantGrant(t, s, key, "v3", "new")
	}},
	{"expiry", "A record is found until it expires, and not afterwards.", func(t *testing.T, s core.GrantStore) {
		key, end := unique(), time.Now().Add(blink)
		create(t, s, key, core.Record{Version: "v1", Expiry: end})
		wantGrantUntil(t, s, key, end)
	}},
	{"expired is absent", "An expired record is absent: its version matches no more, and it can be created over.", func(t *testing.T, s core.GrantStore) {
		key, end := unique(), time.Now().Add(blink)
		create(t, s, key, core.Record{Version: "v1", Expiry: end})
		wantGrantUntil(t, s, key, end)
		wantConflict(t, s, key, "v1", "v2")
		wantNoGrant(t, s, key)
		create(t, s, key, core.Record{Data: []byte("new"), Version: "v3"})
		wantGrant(t, s, key, "v3", "new")
	}},
	{"expiry replaced", "Replacing a record replaces its expiry: later, sooner, or never.", func(t *testing.T, s core.GrantStore) {
		var later, never, sooner string
		end := before(t, func(end time.Time) error {
			later, never, sooner = unique(), unique(), unique()
			return errors.Join(
				s.CommitGrant(t.Context(), later, "", core.Record{Version: "v1", Expiry: end}),
				s.CommitGrant(t.Context(), never, "", core.Record{Version: "v1", Expiry: end}),
				s.CommitGrant(t.Context(), sooner, "", core.Record{Version: "v1"}),
				s.CommitGrant(t.Context(), later, "v1", core.Record{Version: "v2", Expiry: end.Add(time.Hour)}),
				s.CommitGrant(t.Context(), never, "v1", core.Record{Version: "v2"}),
				s.CommitGrant(t.Context(), sooner, "v1", core.Record{Version: "v2", Expiry: end}),
			)
		})
		wantGrantUntil(t, s, sooner, end)
		time.Sleep(time.Until(end) + slack)
		wantGrant(t, s, later, "v2", "")
		if r := wantGrant(t, s, never, "v2", ""); !r.Expiry.IsZero() {
			t.Fatalf("it expires %v", r.Expiry)
		}
	}},
	{"past expiry", "A record whose expiry has passed is absent at once; storing it is no error, and obeys the versions.", func(t *testing.T, s core.GrantStore) {
		key, past := unique(), time.Now().Add(-time.Minute)
		create(t, s, key, core.Record{Version: "v1", Expiry: past})
		wantNoGrant(t, s, key)
		create(t, s, key, core.Record{Version: "v2"})
		if err := s.CommitGrant(t.Context(), key, "v1", core.Record{Version: "v3", Expiry: past}); !errors.Is(err, core.ErrConflict) {
			t.Fatalf("CommitGrant = %v, want ErrConflict", err)
		}
		wantGrant(t, s, key, "v2", "")
		mustReplace(t, s, key, "v2", core.Record{Version: "v3", Expiry: past})
		wantNoGrant(t, s, key)
	}},
	{"far expiry", "An expiry may be centuries away.", func(t *testing.T, s core.GrantStore) {
		key := unique()
		create(t, s, key, core.Record{Version: "v1", Expiry: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)})
		wantGrant(t, s, key, "v1", "")
	}},
	{"no version", "A record without a version is refused: it could be created over.", func(t *testing.T, s core.GrantStore) {
		key := unique()
		if err := s.CommitGrant(t.Context(), key, "", core.Record{Data: []byte("data")}); err == nil || errors.Is(err, core.ErrConflict) {
			t.Fatalf("CommitGrant = %v, want an error of its own", err)
		}
		wantNoGrant(t, s, key)
	}},
	{"100 create", "Of 100 who create the same record at once, exactly one does; the others get ErrConflict.", func(t *testing.T, s core.GrantStore) {
		race(t, s, unique(), "")
	}},
	{"100 replace", "Of 100 who replace the same version at once, exactly one does; the others get ErrConflict.", func(t *testing.T, s core.GrantStore) {
		key := unique()
		create(t, s, key, core.Record{Version: "v1"})
		race(t, s, key, "v1")
	}},
	{"100 count", "100 who each add one, and try again on ErrConflict, add 100.", func(t *testing.T, s core.GrantStore) {
		key := unique()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				for range attempts {
					r, _, err := s.FindGrant(t.Context(), key)
					if err != nil {
						t.Errorf("FindGrant: %v", err)
						return
					}
					n, _ := strconv.Atoi(string(r.Data))
					switch err := s.CommitGrant(t.Context(), key, r.Version, core.Record{Data: fmt.Append(nil, n+1), Version: unique()}); {
					case err == nil:
						return
					case !errors.Is(err, core.ErrConflict):
						t.Errorf("CommitGrant: %v", err)
						return
					}
				}
				t.Errorf("ErrConflict %d times", attempts)
			})
		}
		wg.Wait()
		if r, _, err := s.FindGrant(t.Context(), key); err != nil || string(r.Data) != "100" {
			t.Fatalf("FindGrant = %q, %v; want 100", r.Data, err)
		}
	}},
	{"interrupted", "A commit that was interrupted has happened or not, and reading back tells which; one that returned nil has.", interrupted},
	{"context", "A context that is done is an error, and nothing is changed.", func(t *testing.T, s core.GrantStore) {
		for name, done := range doneContexts(t) {
			key, other := unique(), unique()
			create(t, s, key, core.Record{Data: []byte("data"), Version: "v1"})
			if _, found, err := s.FindGrant(done, key); err == nil || found {
				t.Errorf("%s: FindGrant = found %v, error %v; want an error", name, found, err)
			}
			if err := s.CommitGrant(done, other, "", core.Record{Version: "v1"}); err == nil || errors.Is(err, core.ErrConflict) {
				t.Errorf("%s: CommitGrant = %v, want an error that is not ErrConflict", name, err)
			}
			if err := s.CommitGrant(done, key, "v1", core.Record{Version: "v2"}); err == nil || errors.Is(err, core.ErrConflict) {
				t.Errorf("%s: CommitGrant = %v, want an error that is not ErrConflict", name, err)
			}
			if err := s.DeleteGrant(done, key); err == nil {
				t.Errorf("%s: DeleteGrant returned no error", name)
			}
			wantGrant(t, s, key, "v1", "data")
			wantNoGrant(t, s, other)
		}
	}},
	{"values", "Data is any bytes, from none to a megabyte.", func(t *testing.T, s core.GrantStore) {
		for i, b := range values() {
			key, v1, v2 := unique(), fmt.Sprint("a", i), fmt.Sprint("b", i)
			create(t, s, key, core.Record{Data: b, Version: v1})
			wantGrant(t, s, key, v1, string(b))
			mustReplace(t, s, key, v1, core.Record{Data: b, Version: v2})
			wantGrant(t, s, key, v2, string(b))
		}
	}},
	{"keys", "A key is up to 128 bytes of visible ASCII, and keys that differ in one byte are different records.", func(t *testing.T, s core.GrantStore) {
		var visible strings.Builder
		for c := byte('!'); c <= '~'; c++ {
			visible.WriteByte(c)
		}
		base := unique()
		long := base + visible.String()
		long = long[:min(len(long), 127)]
		keys := []string{long, long + "a", long + "A", strings.ToLower(long) + "x", base, base + "*", base + ":" + base, "{" + base + "}"}
		for i, key := range keys {
			create(t, s, key, core.Record{Data: []byte(key), Version: fmt.Sprint("v", i)})
		}
		for i, key := range keys {
			wantGrant(t, s, key, fmt.Sprint("v", i), key)
		}
	}},
	{"ownership", "The store keeps a copy: a caller may change what it gave and what it got.", func(t *testing.T, s core.GrantStore) {
		key, b := unique(), []byte("data")
		create(t, s, key, core.Record{Data: b, Version: "v1"})
		copy(b, "XXXX")
		copy(wantGrant(t, s, key, "v1", "data").Data, "YYYY")
		wantGrant(t, s, key, "v1", "data")
	}},
}

func race(t *testing.T, s core.GrantStore, key, old string) {
	t.Helper()
	var won atomic.Pointer[string]
	var wg sync.WaitGroup
	start := make(chan struct{})
	for range 100 {
		wg.Go(func() {
			version := unique()
			<-start
			switch err := s.CommitGrant(t.Context(), key, old, core.Record{Data: []byte(version), Version: version}); {
			case err == nil:
				if !won.CompareAndSwap(nil, &version) {
					t.Error("a second one won")
				}
			case !errors.Is(err, core.ErrConflict):
				t.Errorf("CommitGrant: %v", err)
			}
		})
	}
	close(start)
	wg.Wait()
	if won.Load() == nil {
		t.Fatal("nobody won")
	}
	wantGrant(t, s, key, *won.Load(), *won.Load())
}

// interrupted cancels commits at random moments. Nothing may be half done, and
// the writer who reads back must never be misled.
func interrupted(t *testing.T, s core.GrantStore) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	key, stored := unique(), ""
	for range 200 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(math.Pow(10, 7*rnd.Float64())-1)) // none to 10 ms
		version := unique()
		err := s.CommitGrant(ctx, key, stored, core.Record{Data: []byte(version), Version: version})
		cancel()
		if errors.Is(err, core.ErrConflict) {
			t.Fatalf("ErrConflict, though the version stored was %q", stored)
		}
		// What was cancelled may still be under way. Replacing what is read settles it.
		for try := 0; ; try++ {
			r, found, ferr := s.FindGrant(t.Context(), key)
			if ferr != nil {
				t.Fatalf("FindGrant: %v", ferr)
			}
			if found && string(r.Data) != r.Version {
				t.Fatalf("a record of version %q holds %q", r.Version, r.Data)
			}
			if r.Version != stored && r.Version != version || err == nil && r.Version != version {
				t.Fatalf("read back %q after writing %q over %q, which returned %v", r.Version, version, stored, err)
			}
			settled := unique()
			cerr := s.CommitGrant(t.Context(), key, r.Version, core.Record{Data: []byte(settled), Version: settled})
			if cerr == nil {
				stored = settled
				break
			}
			if !errors.Is(cerr, core.ErrConflict) || try == attempts {
				t.Fatalf("CommitGrant over %q, just read: %v", r.Version, cerr)
			}
		}
	}
}

func create(t *testing.T, s core.GrantStore, key string, r core.Record) {
	t.Helper()
	mustReplace(t, s, key, "", r)
}

func mustReplace(t *testing.T, s core.GrantStore, key, old string, r core.Record) {
	t.Helper()
	if err := s.CommitGrant(t.Context(), key, old, r); err != nil {
		t.Fatalf("CommitGrant over %q: %v", old, err)
	}
}

func wantConflict(t *testing.T, s core.GrantStore, key, old, version string) {
	t.Helper()
	if err := s.CommitGrant(t.Context(), key, old, core.Record{Data: []byte("conflict"), Version: version}); !errors.Is(err, core.ErrConflict) {
		t.Fatalf("CommitGrant over %q = %v, want ErrConflict", old, err)
	}
}

func wantGrant(t *testing.T, s core.GrantStore, key, version, data string) core.Record {
	t.Helper()
	r, found, err := s.FindGrant(t.Context(), key)
	if err != nil || !found || r.Version != version || string(r.Data) != data {
		t.Fatalf("FindGrant = version %q, %s, %v, %v; want version %q, %s", r.Version, short(r.Data), found, err, version, short([]byte(data)))
	}
	return r
}

func wantNoGrant(t *testing.T, s core.GrantStore, key string) {
	t.Helper()
	r, found, err := s.FindGrant(t.Context(), key)
	if err != nil || found {
		t.Fatalf("FindGrant = version %q, %v, %v; want it absent", r.Version, found, err)
	}
}

func wantGrantUntil(t *testing.T, s core.GrantStore, key string, end time.Time) {
	t.Helper()
	wantUntil(t, end, func() (bool, error) {
		_, found, err := s.FindGrant(t.Context(), key)
		return found, err
	})
}
