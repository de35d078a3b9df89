package musixmatch

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A connection that is given up has sent nothing, whenever that happens.
func TestNothingIsSentWithoutSend(t *testing.T) {
	var requests, connections atomic.Int32
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	closed := make(chan struct{}, 200)
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			connections.Add(1)
		case http.StateClosed:
			closed <- struct{}{}
		}
	}
	srv.StartTLS()
	defer srv.Close()
	c := New(Options{Clock: SystemClock(), Transport: srv.Client().Transport, Endpoint: Endpoint{TokenURL: srv.URL}})
	for n := range 100 {
		r, err := c.Connect(t.Context(), "rt")
		require.NoError(t, err)
		if n%2 == 0 {
			r.Close()
		} else {
			r.Reset()
		}
		var call *CallError
		require.ErrorAs(t, (<-r.answer).Err, &call)
		require.False(t, call.Sent)
		<-closed
	}
	require.EqualValues(t, 100, connections.Load())
	require.Zero(t, requests.Load())
}

// Nothing that an application's transport can be set to ends, delays or repeats
// a refresh.
func TestTransportCannotCutARefreshOff(t *testing.T) {
	c := New(Options{
		Clock: SystemClock(),
		Transport: &http.Transport{
			ResponseHeaderTimeout: time.Millisecond, MaxConnsPerHost: 1, IdleConnTimeout: time.Nanosecond, TLSHandshakeTimeout: time.Nanosecond,
		},
		Endpoint: Endpoint{TokenURL: slowServer(t).URL},
	})
	first, err := c.Connect(t.Context(), "rt")
	require.NoError(t, err)
	defer first.Close()
	second, err := c.Connect(t.Context(), "rt")
	require.NoError(t, err, "it does not queue behind the first")
	defer second.Close()
	a := <-first.Send(func() bool { return true })
	require.NoError(t, a.Err)
	require.Equal(t, "r", a.Tokens.Refresh)
}

func slowServer(t *testing.T) *httptest.Server {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(50 * time.Millisecond)
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"access_token":"a","token_type":"bearer","expires_in":60,"refresh_token":"r"}`)
	}))
	t.Cleanup(srv.Close)
	return srv
}

// A connection that dies before Send has sent nothing.
func TestConnectionThatDiesMeanwhile(t *testing.T) {
	accepted := make(chan net.Conn, 1)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	go func() {
		if conn, err := l.Accept(); err == nil {
			accepted <- conn
		}
	}()
	c := New(Options{Clock: SystemClock(), Endpoint: Endpoint{TokenURL: "http://" + l.Addr().String()}})
	r, err := c.Connect(t.Context(), "rt")
	require.NoError(t, err)
	defer r.Close()
	(<-accepted).Close()
	require.Eventually(t, func() bool { // until net/http has noticed
		conn := r.gate.conn.Load()
		return conn.closed.Load()
	}, time.Second, time.Millisecond)
	a := <-r.Send(func() bool { return true })
	var call *CallError
	require.True(t, errors.As(a.Err, &call))
	require.False(t, call.Sent)
}

// The kernel delivers what was written before Close; Reset throws it away.
func TestResetSendsRST(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	read := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			_, err = io.Copy(io.Discard, conn)
			conn.Close()
		}
		read <- err
	}()
	c := New(Options{Clock: SystemClock(), Endpoint: Endpoint{TokenURL: "http://" + l.Addr().String()}})
	r, err := c.Connect(t.Context(), "rt")
	require.NoError(t, err)
	answer := r.Send(func() bool { return true })
	require.Eventually(t, func() bool { return r.gate.state.Load() == gatePassed }, time.Second, time.Millisecond)
	r.Reset()
	require.ErrorContains(t, <-read, "connection reset by peer")
	a := <-answer
	var call *CallError
	require.ErrorAs(t, a.Err, &call)
	require.True(t, call.Sent)
}
