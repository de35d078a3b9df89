package mxmtest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/internal/pipes"
)

// Of any number of simultaneous refreshes one wins, and the books say so.
func TestSimultaneousRefreshes(t *testing.T) {
	const n = 50
	for name, c := range map[string]struct {
		change   func(*mxmtest.Settings)
		outcomes map[string]int
		live     int
	}{
		"revoke":        {func(*mxmtest.Settings) {}, map[string]int{"ok": 1, "invalid_grant": n - 1}, 0},
		"plain":         {func(c *mxmtest.Settings) { c.Reuse = mxmtest.Plain }, map[string]int{"ok": 1, "invalid_grant": n - 1}, 1},
		"grace":         {func(c *mxmtest.Settings) { c.Grace = time.Hour }, map[string]int{"ok": n}, 1},
		"serialization": {func(c *mxmtest.Settings) { c.LoserInvalidRequest = true }, map[string]int{"ok": 1, "invalid_request": n - 1}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			f.Configure(c.change)
			login := f.Issue(ada)
			// Held until all have arrived, so that every loser overlaps with the winner.
			var arrived sync.WaitGroup
			arrived.Add(n)
			f.Fail(mxmtest.Token, func(*mxmtest.Exchange) { arrived.Done(); arrived.Wait() }, mxmtest.Times(n))
			var done sync.WaitGroup
			for range n {
				done.Go(func() { f.refresh(login.RefreshToken) })
			}
			done.Wait()
			outcomes, spent := map[string]int{}, 0
			for _, r := range f.Requests() {
				outcomes[r.Outcome]++
				if r.Spent {
					spent++
				}
			}
			require.Equal(t, c.outcomes, outcomes)
			require.Equal(t, n-1, spent)
			require.Len(t, f.Live(ada), c.live)
		})
	}
}

// The loser of two simultaneous exchanges replays a code that was unspent when
// it arrived.
func TestSimultaneousExchanges(t *testing.T) {
	f := start(t)
	code := f.code(authorizeQuery())
	f.ResetRequests()
	var arrived, done sync.WaitGroup
	arrived.Add(2)
	f.Fail(mxmtest.Token, func(*mxmtest.Exchange) { arrived.Done(); arrived.Wait() }, mxmtest.Times(2))
	for range 2 {
		done.Go(func() { f.post("/oauth/token", codeForm(code)) })
	}
	done.Wait()
	log := f.Requests()
	require.ElementsMatch(t, []string{"ok", "invalid_grant"}, []string{log[0].Outcome, log[1].Outcome})
	require.ElementsMatch(t, []bool{false, true}, []bool{log[0].Spent, log[1].Spent})
	require.Empty(t, f.Live(ada))
}

// Everything at once, for the race detector: each user's chain of refreshes is
// undisturbed.
func TestEverythingAtOnce(t *testing.T) {
	f := start(t)
	f.Configure(func(c *mxmtest.Settings) { c.KeepRequests = 100 })
	var refreshing, watching sync.WaitGroup
	stop := make(chan struct{})
	watching.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			f.Requests()
			f.Live(ada)
			f.Configure(func(c *mxmtest.Settings) { c.Grace++ })
			f.Fail(mxmtest.Token, mxmtest.SetField("x", "1"))
			f.SignInAs(ben)
			f.AddClient("other", "secret", callback)
			runtime.Gosched()
		}
	})
	for i := range 10 {
		userID := fmt.Sprintf("mxm:2%020d", i)
		refreshing.Go(func() {
			for range 20 {
				login := f.Issue(userID)
				f.refresh(login.RefreshToken)
				f.introspect(login.AccessToken)
				f.get("/oauth/authorize?" + authorizeQuery().Encode())
			}
			live := f.Live(userID)
			assert.Len(t, live, 20)
			for _, login := range live {
				assert.Equal(t, 1, login.Refreshes)
			}
		})
	}
	refreshing.Wait()
	close(stop)
	watching.Wait()
}

// One that comes after the winner was answered is no loser of a race.
func TestLateReplayIsNotASerializationConflict(t *testing.T) {
	f := start(t)
	f.Configure(func(c *mxmtest.Settings) { c.LoserInvalidRequest = true })
	login := f.Issue(ada)
	f.granted(f.refresh(login.RefreshToken))
	f.refused(f.refresh(login.RefreshToken), http.StatusBadRequest, "invalid_grant")
	require.Empty(t, f.Live(ada))
}

// In a bubble, on its clock: a refresh lands after its client has given up.
func TestSynctest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		srv := mxmtest.NewUnstarted("http://mxm.test")
		defer srv.Close()
		network := pipes.Listen()
		server := http.Server{Handler: srv}
		go server.Serve(network)
		defer server.Close()
		transport := &http.Transport{DialContext: network.Dial}
		defer transport.CloseIdleConnections()
		f := fake{srv, t, &http.Client{Transport: transport, Timeout: 30 * time.Second}}

		login := f.Issue(ada)
		f.Fail(mxmtest.Token, mxmtest.SlowRequest(40*time.Second))
		a := f.refresh(login.RefreshToken)
		var timeout net.Error
		require.True(t, errors.As(a.err, &timeout) && timeout.Timeout(), a.err)
		require.Equal(t, 30*time.Second, time.Since(began))
		require.True(t, f.IsLive(login.RefreshToken))
		time.Sleep(10*time.Second + time.Nanosecond)
		require.False(t, f.IsLive(login.RefreshToken))

		f.Fail(mxmtest.Metadata, mxmtest.DropResponse)
		require.Error(t, f.introspect("x").err)

		login = f.Live(ada)[0]
		time.Sleep(time.Hour)
		require.Equal(t, false, f.introspect(login.AccessToken).field(t, "active"))
		a = f.refresh(login.RefreshToken)
		require.Equal(t, time.Now().UTC().Format(http.TimeFormat), a.header.Get("Date"))
		f.granted(a)

		f.Configure(func(c *mxmtest.Settings) { c.Grace = 10 * time.Second })
		f.Configure(func(c *mxmtest.Settings) { c.DeathLag, c.BirthLag = 5*time.Second, time.Second })
		login = f.Live(ada)[0]
		time.Sleep(time.Second)
		f.granted(f.refresh(login.RefreshToken))
		newest := f.Live(ada)[0].AccessToken
		active := func(token string) any { return f.introspect(token).field(t, "active") }
		require.Equal(t, []any{true, false}, []any{active(login.AccessToken), active(newest)})
		time.Sleep(5 * time.Second)
		require.Equal(t, []any{false, true}, []any{active(login.AccessToken), active(newest)})
		f.granted(f.refresh(login.RefreshToken))
		time.Sleep(5 * time.Second)
		f.refused(f.refresh(login.RefreshToken), http.StatusBadRequest, "invalid_grant")

		login = f.Issue(ada)
		time.Sleep(time.Second)
		for range 3 { // the lag counts from the first death
			f.granted(f.refresh(f.Live(ada)[0].RefreshToken))
			time.Sleep(2 * time.Second)
		}
		require.Equal(t, false, active(login.AccessToken))
	})
}

// Close returns when the last handler has, and none begins after it.
func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := mxmtest.NewUnstarted("http://mxm.test")
		ended := false
		srv.Fail(mxmtest.Token, func(x *mxmtest.Exchange) {
			defer func() {
				time.Sleep(time.Second)
				ended = true
			}()
			x.Wait(nil)
		})
		go func() {
			defer func() { recover() }()
			directly(srv, nil)
		}()
		synctest.Wait()
		srv.Close()
		require.True(t, ended)
		require.PanicsWithValue(t, http.ErrAbortHandler, func() { directly(srv, nil) })
	})
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	t.Run("", func(t *testing.T) {
		f := start(t)
		f.refresh(f.Issue(ada).RefreshToken)
	})
	goleak.VerifyNone(t, leaks)
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// directly posts to the token endpoint without a connection.
func directly(srv *mxmtest.Server, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/oauth/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, r)
	return w
}

// A long life costs no memory, and a token spent long ago is still known.
func TestMemoryIsBounded(t *testing.T) {
	srv := mxmtest.NewUnstarted("http://mxm.test")
	srv.Configure(func(c *mxmtest.Settings) { c.KeepRequests = 10 })
	first := srv.Issue(ada)
	post := func(form url.Values) int { return directly(srv, form).Code }
	refresh := func(n int) {
		for range n {
			require.Equal(t, 200, post(refreshForm(srv.Live(ada)[0].RefreshToken)))
		}
	}
	refresh(100)
	before := heap()
	refresh(10_000)
	require.Less(t, heap(), before+256<<10)
	require.Equal(t, 400, post(refreshForm(first.RefreshToken)))
	require.True(t, srv.Requests()[len(srv.Requests())-1].Spent)
	require.Empty(t, srv.Live(ada))
}

// Families that are dead for an hour are forgotten.
func TestDeadFamiliesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := mxmtest.NewUnstarted("http://mxm.test")
		srv.Configure(func(c *mxmtest.Settings) { c.AccessLifetime = 1000 * time.Hour })
		kept := srv.Issue(ada)
		var app struct {
			AccessToken string `json:"access_token"`
		}
		require.NoError(t, json.Unmarshal(directly(srv, withClient("grant_type", "client_credentials")).Body.Bytes(), &app))
		srv.Configure(func(c *mxmtest.Settings) { c.AccessLifetime = time.Minute })
		round := func() {
			for range 5000 {
				srv.Issue(ben)
			}
			srv.Revoke(ben)
			time.Sleep(2 * time.Hour)
		}
		round()
		round()
		before := heap()
		for range 10 {
			round()
		}
		require.Less(t, heap(), before+4<<20)
		require.True(t, srv.IsLive(kept.RefreshToken))
		require.True(t, srv.IsLive(app.AccessToken))
	})
}

func BenchmarkRefresh(b *testing.B) {
	srv := mxmtest.NewUnstarted("http://mxm.test")
	srv.Issue(ada)
	b.ReportAllocs()
	for b.Loop() {
		directly(srv, refreshForm(srv.Live(ada)[0].RefreshToken))
	}
}
