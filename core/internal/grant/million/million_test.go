package million_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/internal/grant"
	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
	"github.com/mxmconnect/mxmconnect/core/internal/seal"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/internal/testall"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest"
	"github.com/stretchr/testify/require"
)

var grants = flag.Int("grants", 3000, "how many grants there are")

// chunk is how many grants are made and loaded at once.
const chunk = 10_000

func TestSweep(t *testing.T) {
	testall.Long(t)
	for name, start := range engineStarters {
		t.Run(name, func(t *testing.T) { measure(t, start(t)) })
	}
}

// engine is a store, and a shortcut into what it stands on.
type engine struct {
	store storetest.Store
	load  func(ctx context.Context, records map[string]core.Record) error
}

func measure(t *testing.T, e engine) {
	musixmatchServer := mxmtest.NewServer()
	defer musixmatchServer.Close()
	app := httptest.NewUnstartedServer(nil)
	config := musixmatchServer.Config("http://" + app.Listener.Addr().String())
	config.Sessions, config.Grants, config.Keys = core.NewSessions(e.store), e.store, [][]byte{key()}
	auth, err := core.New(config)
	require.NoError(t, err)
	mux := http.NewServeMux()
	for _, route := range auth.Routes() {
		mux.HandleFunc(route.Path, func(w http.ResponseWriter, r *http.Request) {
			if err := route.Serve(w, r); err != nil {
				core.WriteError(w, r, err)
			}
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, core.UserID(r.Context())) })
	app.Config.Handler = auth.Wrap(mux)
	app.Start()
	defer app.Close()

	began := time.Now()
	load(t, e, config)
	t.Logf("%d grants, loaded in %v", *grants, time.Since(began).Round(100*time.Millisecond))

	visitor := signIn(t, musixmatchServer, app.URL, auth.LoginURL("/"))
	quiet := visits(t, visitor, app.URL, 3*time.Second, nil)

	done := make(chan struct{})
	var swept result
	go func() {
		defer close(done)
		swept = sweep(t.Context(), auth)
	}()
	during := visits(t, visitor, app.URL, 0, done)
	require.NoError(t, swept.err)
	require.GreaterOrEqual(t, swept.grants, *grants+1)
	after := visits(t, visitor, app.URL, 3*time.Second, nil)
	quiet = append(quiet, after...)

	t.Logf("result: a sweep over %d grants takes %v, the heap in use is %.1f MB in its first tenth and %.1f MB later; a visitor's request takes %v (99 %%: %v), during the sweep %v (99 %%: %v)",
		*grants, swept.took.Round(100*time.Millisecond), mb(swept.early), mb(swept.late),
		percentile(quiet, 50), percentile(quiet, 99), percentile(during, 50), percentile(during, 99))
	require.Less(t, swept.late, swept.early+16<<20, "memory grows with the number of grants")
	require.Less(t, percentile(during, 50), percentile(quiet, 99), "half of the visitor's requests take longer than the slowest in a hundred did")
}

type result struct {
	grants      int
	took        time.Duration
	early, late uint64 // the most of the heap in use, in the first tenth and in the rest
	err         error
}

// sweep is one sweep of [core.Auth.Maintain] that finds nothing to do.
func sweep(ctx context.Context, auth *core.Auth) (r result) {
	ctx, end := context.WithCancel(ctx)
	var heap []uint64
	var sampler sync.WaitGroup
	sampler.Go(func() {
		for ctx.Err() == nil {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			heap = append(heap, m.HeapAlloc)
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
	r.err = auth.Maintain(ctx, core.Maintenance{KeepAlive: -1, OnSweep: func(_ context.Context, s core.Sweep) {
		r.grants, r.took = s.Live, s.Took
		end()
	}})
	end()
	sampler.Wait()
	early := heap[:len(heap)/10+1]
	r.early, r.late = slices.Max(early), slices.Max(heap[len(early)-1:])
	return r
}

// load makes grants as sign-ins do, and stores them many at once.
func load(t *testing.T, e engine, config core.Config) {
	t.Helper()
	keys, err := seal.New(config.Keys)
	require.NoError(t, err)
	for n := 0; n < *grants; n += chunk {
		made := &shelf{records: make(map[string]core.Record)}
		m := grant.New(grant.Options{
			Store: made, Server: noServer{}, Keys: keys, BaseURL: config.BaseURL, ClientID: config.ClientID, RefreshTimeout: 30 * time.Second, Clock: musixmatch.SystemClock(),
			Report: func(context.Context, grant.Report) {},
		})
		for i := n; i < min(n+chunk, *grants); i++ {
			now := time.Now()
			require.NoError(t, m.Put(t.Context(), fmt.Sprintf("mxm:%021d", i), &musixmatch.Tokens{
				Access: seal.RandomString(), Refresh: seal.RandomString(), Scope: "profile email",
				Issued: now, Date: now, ExpiryKnown: true, ExpiresIn: time.Hour,
			}))
		}
		require.NoError(t, m.Close(t.Context()))
		require.NoError(t, e.load(t.Context(), made.records))
	}
}

// shelf is a store that grants are made in.
type shelf struct{ records map[string]core.Record }

func (s *shelf) FindGrant(context.Context, string) (grant.Record, bool, error) {
	return grant.Record{}, false, nil
}

func (s *shelf) CommitGrant(_ context.Context, key, _ string, r grant.Record) error {
	s.records[key] = core.Record(r)
	return nil
}

// noServer knows the time, which is all that a sign-in asks for.
type noServer struct{ grant.Server }

func (noServer) Now() (time.Time, bool) { return time.Now(), true }

func key() []byte {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(7 * i)
	}
	return key
}

func signIn(t *testing.T, server *mxmtest.Server, origin, login string) *http.Client {
	t.Helper()
	server.SignInAs("mxm:999999999999999999999")
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	visitor := &http.Client{Jar: jar}
	get(t, visitor, origin+login)
	require.Equal(t, "mxm:999999999999999999999", get(t, visitor, origin+"/"))
	return visitor
}

func get(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	res, err := c.Get(url)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode, "%s", body)
	return string(body)
}

// visits makes a request every few milliseconds, for a while or until done.
func visits(t *testing.T, visitor *http.Client, origin string, during time.Duration, done <-chan struct{}) (took []time.Duration) {
	t.Helper()
	if done == nil {
		ended := make(chan struct{})
		time.AfterFunc(during, func() { close(ended) })
		done = ended
	}
	for {
		began := time.Now()
		get(t, visitor, origin+"/")
		took = append(took, time.Since(began))
		select {
		case <-done:
			return took
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func percentile(took []time.Duration, p int) time.Duration {
	took = slices.Sorted(slices.Values(took))
	return took[len(took)*p/100].Round(10 * time.Microsecond)
}

func mb(bytes uint64) float64 { return float64(bytes) / (1 << 20) }
