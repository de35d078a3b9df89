package mxmtest_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
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

// One that comes after the winner was answered is no loser of a race.
func TestLateReplayIsNotASerializationConflict(t *testing.T) {
	f := start(t)
	f.Configure(func(c *mxmtest.Settings) { c.LoserInvalidRequest = true })
	login := f.Issue(ada)
	f.granted(f.refresh(login.RefreshToken))
	f.refused(f.refresh(login.RefreshToken), http.StatusBadRequest, "invalid_grant")
	require.Empty(t, f.Live(ada))
}

// pipes is a network in memory: a listener whose connections are net.Pipes.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }
func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// In a bubble, on its clock: a refresh lands after its client has given up.
func TestSynctest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		srv := mxmtest.NewUnstarted("http://mxm.test")
		defer srv.Close()
		network := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		server := http.Server{Handler: srv}
		go server.Serve(network)
		defer server.Close()
		transport := &http.Transport{DialContext: network.dial}
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

// A long life costs no memory, and a token spent long ago is still known.
func TestMemoryIsBounded(t *testing.T) {
	srv := mxmtest.NewUnstarted("http://mxm.test")
	srv.Configure(func(c *mxmtest.Settings) { c.KeepRequests = 10 })
	first := srv.Issue(ada)
	post := func(body string) int {
		r := httptest.NewRequest("POST", "/oauth/token", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, r)
		return w.Code
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	refresh := func(n int) {
		for range n {
			require.Equal(t, 200, post(refreshForm(srv.Live(ada)[0].RefreshToken).Encode()))
		}
	}
	refresh(100)
	before := heap()
	refresh(10_000)
	require.Less(t, heap(), before+256<<10)
	require.Equal(t, 400, post(refreshForm(first.RefreshToken).Encode()))
	require.True(t, srv.Requests()[len(srv.Requests())-1].Spent)
	require.Empty(t, srv.Live(ada))
}

// Families that are dead for an hour are forgotten.
func TestDeadFamiliesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := mxmtest.NewUnstarted("http://mxm.test")
		srv.Configure(func(c *mxmtest.Settings) { c.AccessLifetime = time.Minute })
		kept := srv.Issue(ada)
		heap := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
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
	})
}
