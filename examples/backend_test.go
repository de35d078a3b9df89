package examples_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/internal/testall"
)

// runToEnd runs a program that ends by itself.
func runToEnd(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs lockedBuffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(t, cmd.Start())
	defer time.AfterFunc(60*time.Second, func() { _ = cmd.Process.Kill() }).Stop()
	_ = cmd.Wait()
	require.NotContains(t, errs.String(), "DATA RACE")
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func TestWorkerOffline(t *testing.T) {
	t.Parallel()
	stdout, stderr, status := runToEnd(t, command(t, "worker"))
	require.Zero(t, status, stderr)
	require.Contains(t, stdout, "Acted for 11 of 12 users.")
	require.Contains(t, stdout, "sign in with Musixmatch again:\n  mxm:100000000000000000008\n")
	require.Contains(t, stdout, "go doc ./examples/worker")
}

// The worker that stays sweeps at once, and ends with the signal.
func TestWorkerMaintains(t *testing.T) {
	t.Parallel()
	cmd := command(t, "worker")
	cmd.Args = append(cmd.Args, "maintain")
	var out, errs lockedBuffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(t, cmd.Start())
	defer time.AfterFunc(60*time.Second, func() { _ = cmd.Process.Kill() }).Stop()
	eventually(t, "a sweep", func() bool { return strings.Contains(out.String(), "Swept in") })
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, cmd.Wait(), errs.String())
	require.Contains(t, out.String(), ": 12 connections are live, 0 wait for a new sign-in. Refreshed 0, failed for 0.\n")
	require.NotContains(t, errs.String(), "DATA RACE")
}

// The job and the web application share a store: users sign in there, and the
// job acts for them later, when their access tokens have run out.
func TestWorkerBesideTheDemo(t *testing.T) {
	testall.Long(t)
	srv := newServer(t)
	env := []string{"MXM_STORE=" + sharedStores["sqlite"](t), "MXM_KEYS=" + goodKey, "MXM_REFRESH_TIMEOUT=1s"}
	app := startDemo(t, "nethttp", srv, env...)
	var users []string
	srv.Configure(func(s *mxmtest.Settings) { s.AccessLifetime = time.Second }) // of the first three
	for i := range 6 {
		if i == 3 {
			srv.Configure(func(s *mxmtest.Settings) { s.AccessLifetime = time.Hour })
		}
		users = append(users, userID(i))
		srv.SignInAs(userID(i))
		signIn(t, browser(t), app.URL)
	}
	time.Sleep(9 * time.Second) // seven times RefreshTimeout: the job believes that a token of that age is dead
	srv.Revoke(users[4])
	list := append([]string{"mxm:900000000000000000009"}, users...) // one who never connected
	worker := command(t, "worker", live(srv, append(env, "MXM_USERS="+strings.Join(list, ","))...)...)
	stdout, stderr, status := runToEnd(t, worker)
	require.Zero(t, status, stderr)
	require.Contains(t, stdout, "Acted for 5 of 7 users.")
	require.Contains(t, stdout, "again:\n  mxm:900000000000000000009\n  "+users[4]+"\n")

	ok := 0
	for _, r := range refreshes(srv) {
		if r.Outcome == mxmtest.OK {
			ok++
		}
	}
	require.Equal(t, 3, ok, "one for each that had run out")

	// A bad hour at the API is nobody's fault.
	srv.Fail(mxmtest.API, mxmtest.Status(500, `{}`, 0), mxmtest.Always())
	stdout, _, status = runToEnd(t, command(t, "worker", live(srv, append(env, "MXM_USERS="+users[0])...)...))
	require.Zero(t, status)
	require.Contains(t, stdout, "run it again:\n  "+users[0])
}

func TestWorkerEnvironment(t *testing.T) {
	srv := newServer(t)
	refused(t, "worker", "MXM_USERS", live(srv)...)
	refused(t, "worker", "MXM_STORE", live(srv, "MXM_USERS="+ada)...)
	refused(t, "worker", "MXM_KEYS", live(srv, "MXM_USERS="+ada, "MXM_STORE="+sharedStores["sqlite"](t))...)
	refused(t, "worker", "MXM_API_URL", live(srv, "MXM_USERS="+ada, "MXM_API_URL=")...)
}

func TestDistributionOffline(t *testing.T) {
	stdout, stderr, status := runToEnd(t, command(t, "distribution"))
	require.Zero(t, status, stderr)
	require.Contains(t, stdout, "[3/3]")
	require.Contains(t, stdout, "busy, again in 1s")
	require.Equal(t, 2, strings.Count(stdout, "Lyrics: 3 submitted, 0 failed."), "both generations: %s", stdout)
	require.Contains(t, stdout, "go doc ./examples/distribution")
}

// A partner API that is busy, refuses one track, and loses an answer: what may
// be sent again is, what may not is reported.
func TestDistribution(t *testing.T) {
	srv := newServer(t)
	var mu sync.Mutex
	seen := map[string]int{}
	partner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		var body struct {
			ISRC string
			User string `json:"musixmatch_user_id"`
		}
		if !srv.IsLive(token) || json.NewDecoder(r.Body).Decode(&body) != nil || body.User != ada {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mu.Lock()
		seen[r.URL.Path+body.ISRC]++
		first := seen[r.URL.Path+body.ISRC] == 1
		mu.Unlock()
		switch {
		case body.ISRC == "QZES72500001" && first:
			w.WriteHeader(http.StatusServiceUnavailable)
		case body.ISRC == "QZES72500002":
			w.WriteHeader(http.StatusConflict)
		case body.ISRC == "QZES72500003":
			panic(http.ErrAbortHandler)
		case body.ISRC == "":
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, `{"message":{"header":{"status_code":201},"body":{"artist_claim":{"claim_id_list":["c-1","c-2"]}}}}`)
		default:
			fmt.Fprint(w, `{"message":{"header":{"status_code":202},"body":{"lyrics":{"lyrics_request_id":7}}}}`)
		}
	}))
	defer partner.Close()
	work := filepath.Join(t.TempDir(), "catalogue.json")
	require.NoError(t, os.WriteFile(work, []byte(`{"artist":{"partner_artist_id":"a"},"tracks":[
		{"isrc":"QZES72500001","lyrics":"la"}, {"isrc":"QZES72500002","lyrics":"la"}, {"isrc":"QZES72500003","lyrics":"la"},
		{"isrc":"nonsense","lyrics":"la"}, {"isrc":"QZES72500005","lyrics":" "}]}`), 0o600))
	distribution := func(args ...string) *exec.Cmd {
		cmd := command(t, "distribution", live(srv, "MXM_PARTNER_URL="+partner.URL, "MXM_USER_ID="+ada)...)
		cmd.Args = append(cmd.Args, args...)
		return cmd
	}
	stdout, stderr, status := runToEnd(t, distribution(work))
	require.Equal(t, 1, status, stderr)
	require.Contains(t, stdout, `claimed: ["c-1","c-2"]`)
	require.Contains(t, stdout, "submitted: 7\n")
	require.Contains(t, stdout, "Lyrics: 1 submitted, 4 failed.")
	require.Contains(t, stdout, "QZES72500002: the API answers 409")
	require.Contains(t, stdout, "nonsense: not an ISRC")
	require.Contains(t, stdout, "QZES72500005: there are no lyrics")
	mu.Lock()
	require.Equal(t, map[string]int{"/distribution/artist/claim": 1, "/distribution/lyricsQZES72500001": 2,
		"/distribution/lyricsQZES72500002": 1, "/distribution/lyricsQZES72500003": 1}, seen, "a lost answer is not sent again")
	mu.Unlock()
	tokens := 0
	for _, r := range srv.Requests() {
		if r.Endpoint == mxmtest.Token {
			tokens++
			require.Equal(t, "client_credentials", r.GrantType)
			require.NotContains(t, stdout+stderr, mxmtest.DefaultClientSecret)
		}
	}
	require.Equal(t, 1, tokens, "one token for all calls")

	stdout, stderr, status = runToEnd(t, distribution(filepath.Join(t.TempDir(), "missing.json")))
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "missing.json")
	require.Empty(t, stdout)
	_, stderr, status = runToEnd(t, distribution("a", "b"))
	require.Equal(t, 1, status)
	require.Contains(t, stderr, "usage")
	refused(t, "distribution", "MXM_PARTNER_URL", live(srv)...)
	refused(t, "distribution", "MXM_USER_ID", live(srv, "MXM_PARTNER_URL="+partner.URL)...)
}

// The key reaches the API and nothing else, whatever the API does.
func TestDistributionKeyIsNotPrinted(t *testing.T) {
	const key = "canary+key &=/%"
	forms := []string{key, url.QueryEscape(key), url.PathEscape(key), "canary", "apikey"}
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	dead := httptest.NewServer(nil)
	dead.Close()
	cases := []struct {
		name   string
		answer http.HandlerFunc // nil: nothing listens
		says   string
		status int
	}{
		{"accepted", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"message":{"header":{"status_code":202},"body":{"lyrics":{"lyrics_request_id":7}}}}`)
		}, "submitted: 7", 0},
		{"dead", nil, "connection refused", 1},
		{"500", func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "no: "+r.URL.String(), http.StatusInternalServerError)
		}, "the API answers 500", 1},
		{"401 inside 200", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"message":{"header":{"status_code":401,"hint":"renew"},"body":[]}}`)
		}, "the API answers 401", 1},
		{"no ID", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"message":{"body":{}}}`) }, "cannot be read", 1},
		{"not JSON", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL) }, "cannot be read", 1},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+"/?"+r.URL.RawQuery, http.StatusTemporaryRedirect)
		}, "the API redirects", 1},
		{"redirect that cannot be read", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://%zz/?"+r.URL.RawQuery)
			w.WriteHeader(http.StatusFound)
		}, "the API redirects", 1},
		{"broken off", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF", 1},
	}
	work := filepath.Join(t.TempDir(), "catalogue.json")
	require.NoError(t, os.WriteFile(work, []byte(`{"tracks":[{"isrc":"QZES72500001","lyrics":"la"}]}`), 0o600))
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			base, received := dead.URL, make(chan url.Values, 1)
			if c.answer != nil {
				api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/ws/1.1/distribution.lyrics.post" && r.Header.Get("Authorization") == "" {
						received <- r.URL.Query()
					}
					c.answer(w, r)
				}))
				defer api.Close()
				base = api.URL
			}
			cmd := command(t, "distribution", "MXM_API_KEY="+key, "MXM_USER_ID="+ada, "MXM_PARTNER_URL="+base+"/ws/1.1/")
			cmd.Args = append(cmd.Args, work)
			stdout, stderr, status := runToEnd(t, cmd)
			require.Equal(t, c.status, status, stdout+stderr)
			require.Contains(t, stdout, c.says)
			for _, form := range forms {
				require.NotContains(t, stdout+stderr, form)
			}
			if c.answer != nil {
				require.Len(t, received, 1, "requests at the documented path, without a token")
				require.Equal(t, url.Values{"apikey": {key}, "user_id": {ada}}, <-received)
			}
		})
	}
	require.Zero(t, elsewhere.Load(), "a redirect was followed")
	refused(t, "distribution", "MXM_USER_ID", "MXM_API_KEY="+canary)
	refused(t, "distribution", "MXM_PARTNER_URL", "MXM_API_KEY="+canary, "MXM_USER_ID="+ada, "MXM_PARTNER_URL=http://api.example")
	refused(t, "distribution", "MXM_PARTNER_URL", "MXM_API_KEY="+canary, "MXM_USER_ID="+ada,
		"MXM_PARTNER_URL=https://api.example/?apikey="+canary)
}
