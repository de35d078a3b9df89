package mxmtest_test

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

func TestGraceAnswers(t *testing.T) {
	replay := func(t *testing.T, answer mxmtest.GraceAnswer) (f fake, first, access, refresh, again, another string) {
		f = start(t)
		f.Configure(func(c *mxmtest.Settings) { c.Grace, c.GraceAnswer = time.Hour, answer })
		login := f.Issue(ada)
		access, refresh = f.granted(f.refresh(login.RefreshToken))
		again, another = f.granted(f.refresh(login.RefreshToken))
		require.True(t, f.last().Spent)
		require.True(t, f.IsLive(again))
		require.True(t, f.IsLive(another))
		return f, login.RefreshToken, access, refresh, again, another
	}
	t.Run("NewPair", func(t *testing.T) {
		f, first, access, refresh, _, another := replay(t, mxmtest.NewPair)
		require.NotEqual(t, refresh, another)
		require.False(t, f.IsLive(access))
		require.False(t, f.IsLive(refresh))
		_, third := f.granted(f.refresh(first))
		require.False(t, f.IsLive(another))
		f.refused(f.refresh(refresh), http.StatusBadRequest, "invalid_grant")
		require.False(t, f.IsLive(third), "a pair that was ended is spent")
	})
	t.Run("AnotherPair", func(t *testing.T) {
		f, first, access, refresh, _, another := replay(t, mxmtest.AnotherPair)
		require.NotEqual(t, refresh, another)
		require.True(t, f.IsLive(access))
		require.True(t, f.IsLive(refresh))
		_, next := f.granted(f.refresh(refresh))
		require.False(t, f.IsLive(refresh))
		require.True(t, f.IsLive(another))
		f.refused(f.refresh(first), http.StatusBadRequest, "invalid_grant")
		require.False(t, f.IsLive(next), "a pair of it was spent: no grace")
	})
}

func TestMetadataAuth(t *testing.T) {
	f := start(t)
	login := f.Issue(ada)
	f.refused(f.post("/oauth/token-metadata", withClient("accessToken", login.AccessToken)), http.StatusBadRequest, "invalid_request")
	f.Configure(func(c *mxmtest.Settings) { c.MetadataAuth = true })
	f.refused(f.introspect(login.AccessToken), http.StatusUnauthorized, "invalid_client")
	require.Equal(t, true, f.post("/oauth/token-metadata", withClient("accessToken", login.AccessToken)).field(t, "active"))
	f.refused(f.post("/oauth/token-metadata", withClient()), http.StatusBadRequest, "invalid_request")
}

func TestMetadataCalls(t *testing.T) {
	f := start(t)
	f.Configure(func(c *mxmtest.Settings) { c.MetadataCalls, c.MetadataWindow = 2, time.Hour })
	login := f.Issue(ada)
	for range 2 {
		require.Equal(t, true, f.introspect(login.AccessToken).field(t, "active"))
	}
	a := f.introspect(login.AccessToken)
	f.refused(a, http.StatusTooManyRequests, "rate_limited")
	wait, err := strconv.Atoi(a.header.Get("Retry-After"))
	require.NoError(t, err)
	require.InDelta(t, 3600, wait, 60)
	f.granted(f.refresh(login.RefreshToken)) // no other endpoint counts

	f.Configure(func(c *mxmtest.Settings) { c.MetadataWindow = time.Nanosecond })
	require.Equal(t, http.StatusOK, f.introspect(login.AccessToken).status, "another window")
}

func TestNoExpiresIn(t *testing.T) {
	f := start(t)
	f.Configure(func(c *mxmtest.Settings) { c.NoExpiresIn = true })
	a := f.refresh(f.Issue(ada).RefreshToken)
	access, _ := f.granted(a)
	require.True(t, f.IsLive(access))
	require.NotContains(t, a.body, "expires_in")
}

// A client sends a refresh and hangs up at once. The Server has not begun with it.
func TestForgetsCut(t *testing.T) {
	for name, forgets := range map[string]bool{"processed": false, "forgotten": true} {
		t.Run(name, func(t *testing.T) {
			f := start(t)
			f.Configure(func(c *mxmtest.Settings) { c.ForgetsCut = forgets })
			login := f.Issue(ada)
			arrived, goOn, over := make(chan struct{}), make(chan struct{}), make(chan struct{})
			f.Fail(mxmtest.Token, func(x *mxmtest.Exchange) {
				close(arrived)
				x.Wait(goOn)
			})
			server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(over)
				go func() { <-r.Context().Done(); close(goOn) }() // it has noticed
				f.ServeHTTP(w, r)
			})}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			go server.Serve(l)
			t.Cleanup(func() { server.Close() })

			conn, err := net.Dial("tcp", l.Addr().String())
			require.NoError(t, err)
			form := refreshForm(login.RefreshToken).Encode()
			_, err = io.WriteString(conn, "POST /oauth/token HTTP/1.1\r\nHost: fake\r\nContent-Type: application/x-www-form-urlencoded\r\n"+
				"Content-Length: "+strconv.Itoa(len(form))+"\r\n\r\n"+form)
			require.NoError(t, err)
			<-arrived
			conn.Close()
			<-over
			require.Equal(t, forgets, f.IsLive(login.RefreshToken))
			require.Equal(t, forgets, f.last().Outcome == "")
		})
	}
}
