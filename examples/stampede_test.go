package examples_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/internal/testall"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
)

var (
	chaosSeed = flag.Uint64("seed", 0, "seed of the restarts and kills; 0 chooses one")
	chaosFor  = flag.Duration("chaos", 6*time.Second, "how long instances are restarted and killed")
)

const (
	sessions   = 100
	perSession = 50
	users      = 50 // each has two browsers
	expiries   = 2
)

func userID(i int) string { return fmt.Sprintf("mxm:2%020d", i%users) }

// crowd signs in all sessions. Their cookies are good on every instance.
func crowd(t *testing.T, srv *mxmtest.Server, app *process) []*http.Client {
	t.Helper()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 512, 512
	t.Cleanup(transport.CloseIdleConnections)
	clients := make([]*http.Client, sessions)
	for i := range clients {
		clients[i] = browser(t)
		clients[i].Transport = transport
		clients[i].Timeout = 30 * time.Second
		srv.SignInAs(userID(i))
		signIn(t, clients[i], app.URL)
	}
	return clients
}

// tally counts answers by what they are.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (y *tally) add(what string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.counts == nil {
		y.counts = map[string]int{}
	}
	y.counts[what]++
}

func outcomeOf(t *testing.T, c *http.Client, url string) string {
	res, err := c.Get(url)
	if err != nil {
		return "no answer"
	}
	a := read(t, res, nil)
	return strings.TrimSpace(fmt.Sprint(a.StatusCode, " ", a.code()))
}

// All tokens expire, and everybody comes at once, twice: one POST for each user
// and expiry, counted by the server, and nobody notices.
func TestStampede(t *testing.T) {
	for _, policy := range []struct {
		name      string
		reuse     mxmtest.ReusePolicy
		processes int
	}{{"revoke family", mxmtest.RevokeFamily, 4}, {"plain", mxmtest.Plain, 2}} {
		t.Run("1 process, memory, "+policy.name, func(t *testing.T) { stampede(t, 1, policy.reuse) })
		stores := maps.Clone(sharedStores)
		stores["redis cluster"] = func(t *testing.T) string { return engines.StartRedisCluster(t).URL() }
		for name, open := range stores {
			t.Run(fmt.Sprintf("%d processes, %s, %s", policy.processes, name, policy.name), func(t *testing.T) {
				if name != "redis" || policy.reuse == mxmtest.Plain {
					testall.Long(t)
				}
				stampede(t, policy.processes, policy.reuse, "MXM_STORE="+open(t), "MXM_KEYS="+goodKey)
			})
		}
	}
}

func stampede(t *testing.T, processes int, reuse mxmtest.ReusePolicy, env ...string) {
	srv := newServer(t)
	srv.Configure(func(s *mxmtest.Settings) { s.Reuse = reuse })
	env = append(env, "MXM_IDLE_TIMEOUT=20s") // rewrites sessions every two seconds
	env = append(env, "MXM_REFRESH_TIMEOUT=4s")
	apps := []*process{startDemo(t, "nethttp", srv, env...)}
	for len(apps) < processes {
		apps = append(apps, startTwin(t, apps[0], srv, env...))
	}
	clients := crowd(t, srv, apps[0])
	srv.Fail(mxmtest.Token, mxmtest.SlowRequest(200*time.Millisecond), mxmtest.Grant("refresh_token"), mxmtest.Always())

	began := time.Now()
	var answers tally
	for range expiries {
		// A process believes no token to be dead that it has not known for half of RefreshTimeout.
		var known sync.WaitGroup
		for _, c := range clients {
			known.Go(func() {
				for _, app := range apps {
					require.Equal(t, "200", outcomeOf(t, c, app.URL+"/whoami"))
				}
			})
		}
		known.Wait()
		time.Sleep(2100 * time.Millisecond)
		for i := range users {
			srv.ExpireAccessTokens(userID(i))
		}
		var wg sync.WaitGroup
		for i, c := range clients {
			wg.Go(func() { answers.add(outcomeOf(t, c, apps[i%processes].URL+"/slow?ms=500")) })
			for lane := range 5 {
				wg.Go(func() {
					for n := range perSession / expiries / 5 {
						answers.add(outcomeOf(t, c, apps[(i+lane+n)%processes].URL+"/whoami"))
					}
				})
			}
		}
		wg.Wait()
	}
	took := time.Since(began)

	require.Equal(t, map[string]int{"200": sessions * (perSession + expiries)}, answers.counts, "failed 0")
	posts, refused := map[string]int{}, 0
	for _, r := range refreshes(srv) {
		posts[r.UserID]++
		if r.Outcome != mxmtest.OK || r.Spent {
			refused++
		}
	}
	require.Zero(t, refused, "invalid_grant 0")
	require.Len(t, posts, users)
	for user, n := range posts {
		require.Equal(t, expiries, n, "%s: one POST per expiry", user)
	}
	for i, c := range clients { // lost 0
		require.Equal(t, "200", outcomeOf(t, c, apps[i%processes].URL+"/verify"))
		live := srv.Live(userID(i))
		require.Equal(t, expiries, live[len(live)-1].Refreshes)
	}
	t.Logf("%d requests in %s: %.1f POSTs per expiry, invalid_grant %d, failed 0, lost 0",
		sessions*(perSession+expiries), took.Round(time.Millisecond), float64(len(refreshes(srv)))/(users*expiries), refused)
}

// Instances are restarted in turn under load: nobody notices, nothing is lost.
func TestRollingRestarts(t *testing.T) {
	for _, engine := range []string{"redis", "postgres", "mariadb"} {
		for _, instances := range []int{2, 4} {
			t.Run(fmt.Sprintf("%s, %d instances", engine, instances), func(t *testing.T) {
				if engine != "redis" || instances != 2 {
					testall.Long(t)
				}
				chaos(t, engine, instances, false)
			})
		}
	}
}

// Instances are killed at random: only a user whose refresh was under way in a
// killed process may have to connect again, and no spent token is presented.
func TestRandomKills(t *testing.T) {
	testall.Long(t)
	for _, engine := range []string{"redis", "postgres", "mariadb"} {
		for _, instances := range []int{2, 4} {
			t.Run(fmt.Sprintf("%s, %d instances", engine, instances), func(t *testing.T) { chaos(t, engine, instances, true) })
		}
	}
}

const refreshTakes = 50 * time.Millisecond

func chaos(t *testing.T, engine string, instances int, kill bool) {
	seed := *chaosSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-seed=%d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	srv := newServer(t)
	env := []string{"MXM_STORE=" + sharedStores[engine](t), "MXM_KEYS=" + goodKey, "MXM_REFRESH_TIMEOUT=1s", "MXM_IDLE_TIMEOUT=1m"}
	first := startDemo(t, "nethttp", srv, env...)
	apps := make([]atomic.Pointer[process], instances)
	apps[0].Store(first)
	for i := 1; i < instances; i++ {
		apps[i].Store(startTwin(t, first, srv, env...))
	}
	clients := crowd(t, srv, first)
	srv.Fail(mxmtest.Token, mxmtest.SlowRequest(refreshTakes), mxmtest.Grant("refresh_token"), mxmtest.Always())

	var (
		answers tally
		load    sync.WaitGroup
		expired = map[string][]time.Time{}
		kills   []time.Time
		stop    = make(chan struct{})
	)
	for i, c := range clients[:users] {
		load.Go(func() {
			for n := i; ; n++ {
				select {
				case <-stop:
					return
				case <-time.After(20 * time.Millisecond):
				}
				answers.add(outcomeOf(t, c, apps[n%instances].Load().URL+"/whoami"))
			}
		})
	}
	every := 100 * time.Millisecond // a token lives long enough for a request on a busy machine
	if kill {
		every = 200 * time.Millisecond // so that a kill meets few of them, and the floor is worth comparing with
	}
	var started atomic.Int64 // when the last process was
	started.Store(time.Now().UnixNano())
	load.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(every):
				// A process believes no token to be dead that it has not known for half a second,
				// and it has to meet them all first.
				if time.Since(time.Unix(0, started.Load())) < 1800*time.Millisecond {
					continue
				}
				expired[userID(n)] = append(expired[userID(n)], time.Now())
				srv.ExpireAccessTokens(userID(n))
			}
		}
	})
	restarts := 0
	for end := time.Now().Add(*chaosFor); time.Now().Before(end); restarts++ {
		i := restarts % instances
		if kill {
			i = random.IntN(instances)
			time.Sleep(time.Duration(random.IntN(400)) * time.Millisecond)
		}
		old := apps[i].Load()
		next := startTwin(t, first, srv, env...)
		apps[i].Store(next)
		started.Store(time.Now().UnixNano())
		time.Sleep(2500 * time.Millisecond)
		if kill {
			kills = append(kills, time.Now())
			old.kill()
		} else {
			require.Zero(t, old.stop())
		}
	}
	close(stop)
	load.Wait()

	survivor := apps[0].Load()
	var ends sync.WaitGroup
	final := make([]string, users)
	for i, c := range clients[:users] {
		ends.Go(func() {
			for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
				if final[i] = outcomeOf(t, c, survivor.URL+"/whoami"); final[i] == "200" || final[i] == "401 reconnect" {
					break
				}
			}
			assert.Equal(t, "200", outcomeOf(t, c, survivor.URL+"/me"), "no session ends")
		})
	}
	ends.Wait()

	posts := refreshes(srv)
	done := map[string][]time.Time{}
	for _, r := range posts {
		require.NotEqual(t, "invalid_grant", r.Outcome, "no spent token is presented")
		done[r.UserID] = append(done[r.UserID], r.Time)
	}
	floor, lost := 0, 0
	for i, end := range final {
		met := metByAKill(expired[userID(i)], done[userID(i)], kills)
		if met {
			floor++
		}
		if end == "401 reconnect" {
			lost++
			require.True(t, met, "%s is lost, and no kill met its refresh", userID(i))
		} else {
			require.Equal(t, "200", end, userID(i))
		}
	}
	// The test kills tokens long before their end. The 401 of one that a process has
	// not known for half a second yet is passed on.
	require.LessOrEqual(t, answers.counts["502 upstream"], restarts*instances)
	delete(answers.counts, "502 upstream")
	for what := range answers.counts {
		if kill {
			require.Contains(t, []string{"200", "no answer", "503 unavailable", "401 reconnect"}, what)
		} else {
			require.Contains(t, []string{"200", "no answer"}, what) // a connection refused by one that has ended
		}
	}
	t.Logf("%d restarts or kills, %d refreshes, %d of %d users lost, a kill met %d, answers %v", restarts, len(posts), lost, users, floor, answers.counts)
}

// metByAKill reports whether a process was killed between an expiry and the
// moment when the refresh that followed must have been stored.
func metByAKill(expired, refreshed, kills []time.Time) bool {
	const stored = refreshTakes + 200*time.Millisecond
	for _, e := range expired {
		next := slices.IndexFunc(refreshed, func(r time.Time) bool { return r.After(e) })
		for _, k := range kills {
			if k.After(e) && (next < 0 || k.Before(refreshed[next].Add(stored))) {
				return true
			}
		}
	}
	return false
}
