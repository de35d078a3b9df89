package examples_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/internal/testall"
)

// inBackground sends a request that is to be answered later.
func inBackground(t *testing.T, c *http.Client, ctx context.Context, url string) <-chan answer {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	require.NoError(t, err)
	done := make(chan answer, 1)
	go func() {
		defer close(done)
		if res, err := c.Do(req); err == nil {
			done <- read(t, res, nil)
		}
	}()
	return done
}

func refusesConnections(app *process) func() bool {
	return func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(app.URL, "http://"))
		if err == nil {
			conn.Close()
		}
		return err != nil
	}
}

// SIGTERM in the middle of a refresh: no new connection is accepted, the request
// is answered, the new tokens are stored, and the next instance goes on with them.
func TestSIGTERMDuringARefresh(t *testing.T) {
	eachStore(t, func(t *testing.T, env []string) {
		srv := newServer(t)
		app, c := startDemo(t, "nethttp", srv, env...), browser(t)
		signIn(t, c, app.URL)
		srv.ExpireAccessTokens(ada)
		hold := make(chan struct{})
		srv.Fail(mxmtest.Token, mxmtest.Hold(hold), mxmtest.Grant("refresh_token"))
		pending := inBackground(t, c, t.Context(), app.URL+"/whoami")
		eventually(t, "the refresh is sent", func() bool { return len(refreshes(srv)) == 1 })

		app.terminate()
		eventually(t, "it stops accepting", refusesConnections(app))
		require.True(t, app.running())
		close(hold)
		require.Equal(t, 200, (<-pending).StatusCode)
		require.Zero(t, app.wait())

		twin := startTwin(t, app, srv, env...)
		require.Equal(t, 200, get(t, c, twin.URL+"/whoami").StatusCode)
		require.Len(t, refreshes(srv), 1)
	})
}

// The same when the browser has gone: nobody waits for the refresh but Close.
func TestSIGTERMDuringAnAbandonedRefresh(t *testing.T) {
	eachDemo(t, func(t *testing.T, name string) {
		env := []string{"MXM_STORE=" + sharedStores["sqlite"](t), "MXM_KEYS=" + goodKey}
		srv := newServer(t)
		app, c := startDemo(t, name, srv, env...), browser(t)
		signIn(t, c, app.URL)
		srv.ExpireAccessTokens(ada)
		hold := make(chan struct{})
		srv.Fail(mxmtest.Token, mxmtest.Hold(hold), mxmtest.Grant("refresh_token"))
		ctx, leave := context.WithCancel(t.Context())
		pending := inBackground(t, c, ctx, app.URL+"/whoami")
		eventually(t, "the refresh is sent", func() bool { return len(refreshes(srv)) == 1 })
		leave()
		<-pending
		app.terminate()
		eventually(t, "it stops accepting", refusesConnections(app))
		time.Sleep(300 * time.Millisecond) // a process that does not wait would be gone by now
		require.True(t, app.running())
		close(hold)
		require.Zero(t, app.wait())

		twin := startTwin(t, app, srv, env...)
		require.Equal(t, 200, get(t, c, twin.URL+"/whoami").StatusCode)
		require.Len(t, refreshes(srv), 1)
	})
}

// A request that is under way when SIGTERM comes is answered.
func TestSIGTERMDuringARequest(t *testing.T) {
	eachDemo(t, func(t *testing.T, name string) {
		srv := newServer(t)
		app, c := startDemo(t, name, srv), browser(t)
		signIn(t, c, app.URL)
		pending := inBackground(t, c, t.Context(), app.URL+"/slow?ms=1000")
		time.Sleep(200 * time.Millisecond)
		app.terminate()
		require.Equal(t, 200, (<-pending).StatusCode)
		require.Zero(t, app.wait())
		require.Contains(t, app.stderr.String(), `"msg":"stopped"`)
	})
}

func TestClientDisconnectsDuringARefresh(t *testing.T) {
	eachDemo(t, func(t *testing.T, name string) {
		srv := newServer(t)
		app, c := startDemo(t, name, srv), browser(t)
		signIn(t, c, app.URL)
		srv.ExpireAccessTokens(ada)
		hold := make(chan struct{})
		srv.Fail(mxmtest.Token, mxmtest.AfterCommit(mxmtest.Hold(hold)), mxmtest.Grant("refresh_token"))
		ctx, leave := context.WithCancel(t.Context())
		pending := inBackground(t, c, ctx, app.URL+"/whoami")
		eventually(t, "the refresh is sent", func() bool { return len(refreshes(srv)) == 1 })
		leave()
		_, answered := <-pending
		require.False(t, answered)
		close(hold)
		require.Equal(t, 200, get(t, c, app.URL+"/whoami").StatusCode)
		posts := refreshes(srv)
		require.Len(t, posts, 1, "the answer was not thrown away")
		require.Equal(t, mxmtest.OK, posts[0].Outcome)
	})
}

// kill -9 when the server has committed and its answer is on the way: the floor
// of what can be lost. The browser session survives, the
// loss is reported once, and one sign-in heals it.
func TestKillAfterTheServerCommits(t *testing.T) {
	eachStore(t, func(t *testing.T, env []string) {
		env = append(env, "MXM_REFRESH_TIMEOUT=1s")
		srv := newServer(t)
		app, c := startDemo(t, "nethttp", srv, env...), browser(t)
		signIn(t, c, app.URL)
		srv.ExpireAccessTokens(ada)
		hold := make(chan struct{})
		defer close(hold)
		srv.Fail(mxmtest.Token, mxmtest.AfterCommit(mxmtest.Hold(hold)), mxmtest.Grant("refresh_token"))
		pending := inBackground(t, c, t.Context(), app.URL+"/whoami")
		eventually(t, "the server has committed", func() bool { p := refreshes(srv); return len(p) == 1 && p[0].Outcome == mxmtest.OK })
		app.kill()
		<-pending

		twin := startTwin(t, app, srv, env...)
		began := time.Now()
		eventually(t, "the loss is found", func() bool {
			res := get(t, c, twin.URL+"/whoami")
			require.NotEqual(t, 200, res.StatusCode)
			return res.code() == "reconnect"
		})
		t.Logf("found after %s", time.Since(began).Round(time.Millisecond))
		require.LessOrEqual(t, len(refreshes(srv)), 2, "one replay, since the access token was dead before the refresh and cannot tell")
		require.Equal(t, 200, get(t, c, twin.URL+"/me").StatusCode, "the browser session survives")
		eventually(t, "one event", func() bool { return strings.Count(twin.stderr.String(), `"msg":"musixmatch reconnect"`) == 1 })
		require.Contains(t, twin.stderr.String(), `"reason":"lost_response"`)

		callback := authorize(t, c, twin.URL+"/auth/musixmatch/login")
		require.Equal(t, 303, get(t, c, strings.Replace(callback, app.URL, twin.URL, 1)).StatusCode)
		require.Equal(t, 200, get(t, c, twin.URL+"/whoami").StatusCode)
	})
}

// kill -9 when the request is on the way and the server never acts on it:
// nothing is lost. The tokens run out by the clock, as those of a real server do.
func TestKillBeforeTheServerCommits(t *testing.T) {
	t.Parallel()
	testall.Long(t) // it waits for tokens to become old
	eachStore(t, func(t *testing.T, env []string) {
		env = append(env, "MXM_REFRESH_TIMEOUT=2s")
		srv := newServer(t)
		srv.Configure(func(s *mxmtest.Settings) { s.AccessLifetime = 30 * time.Second })
		app, c := startDemo(t, "nethttp", srv, env...), browser(t)
		signIn(t, c, app.URL)
		hold := make(chan struct{})
		srv.Fail(mxmtest.Token, mxmtest.Chain(mxmtest.Hold(hold), mxmtest.DropRequest), mxmtest.Grant("refresh_token"))
		end := time.Now().Add(35 * time.Second)
		for len(refreshes(srv)) == 0 {
			require.True(t, time.Now().Before(end), "no refresh is due")
			require.Equal(t, 200, get(t, c, app.URL+"/whoami").StatusCode)
			time.Sleep(100 * time.Millisecond)
		}
		app.kill()
		close(hold)

		twin := startTwin(t, app, srv, env...)
		began := time.Now()
		eventually(t, "it refreshes", func() bool {
			res := get(t, c, twin.URL+"/whoami")
			require.NotEqual(t, "reconnect", res.code())
			posts := refreshes(srv)
			return len(posts) == 2 && posts[1].Outcome == mxmtest.OK && res.StatusCode == 200
		})
		t.Logf("refreshed after %s", time.Since(began).Round(time.Millisecond))
		for _, r := range refreshes(srv) {
			require.False(t, r.Spent, "no spent token is presented")
		}
	})
}

// A request that was there before a sign-out and ends after it does not bring
// the session back, although it has changed it.
func TestLogoutIsFinal(t *testing.T) {
	for name, open := range sharedStores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logoutIsFinal(t, "nethttp", "MXM_STORE="+open(t), "MXM_KEYS="+goodKey)
		})
	}
	eachDemo(t, func(t *testing.T, name string) { logoutIsFinal(t, name) })
}

func logoutIsFinal(t *testing.T, name string, env ...string) {
	srv := newServer(t)
	app, c := startDemo(t, name, srv, env...), browser(t)
	signIn(t, c, app.URL)
	base, err := url.Parse(app.URL)
	require.NoError(t, err)
	thief := browser(t) // keeps the cookie that the browser gives up
	thief.Jar.SetCookies(base, c.Jar.Cookies(base))
	var pending []<-chan answer
	for range 5 {
		slow := browser(t)
		slow.Jar.SetCookies(base, c.Jar.Cookies(base))
		pending = append(pending, inBackground(t, slow, t.Context(), app.URL+"/slow?ms=1200"))
	}
	time.Sleep(300 * time.Millisecond)
	require.Equal(t, 303, post(t, c, app.URL+"/auth/musixmatch/logout").StatusCode)
	jar, ok := c.Jar.(*cookiejar.Jar)
	require.True(t, ok)
	require.Empty(t, jar.Cookies(base), "the cookie is gone")
	for _, p := range pending {
		res := <-p
		require.Equal(t, 200, res.StatusCode, "it was signed in when it began")
		require.Empty(t, res.Cookies())
	}
	require.Equal(t, 401, get(t, thief, app.URL+"/me").StatusCode, "the old cookie is worth nothing")
	require.Equal(t, 401, get(t, c, app.URL+"/me").StatusCode)
}

// A client that sends a body and never ends it does not keep its connection.
func TestUnfinishedBodyIsCutOff(t *testing.T) {
	testall.Long(t)
	t.Parallel()
	app := startDemo(t, "nethttp", newServer(t))
	conn, err := net.Dial("tcp", strings.TrimPrefix(app.URL, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("POST /auth/musixmatch/logout HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\na=b"))
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(3*time.Minute)))
	_, err = io.Copy(io.Discard, conn)
	require.NoError(t, err, "the server ends the connection")
}
