package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// farMusixmatch is a Musixmatch that speaks TLS at a distance.
type farMusixmatch struct {
	*mxmtest.Server
	https     *httptest.Server
	dial      func(ctx context.Context, network, addr string) (net.Conn, error)
	roundTrip atomic.Int64 // nanoseconds; 0 while something is made ready
	dials     atomic.Int64
}

// newFarMusixmatch listens on loopback.
func newFarMusixmatch() *farMusixmatch {
	https := httptest.NewUnstartedServer(nil)
	return startFar(https, "https://"+https.Listener.Addr().String(), (&net.Dialer{}).DialContext)
}

func startFar(https *httptest.Server, url string, dial func(ctx context.Context, network, addr string) (net.Conn, error)) *farMusixmatch {
	m := &farMusixmatch{Server: mxmtest.NewUnstarted(url), https: https, dial: dial}
	https.Config.Handler = m.Server
	https.StartTLS()
	return m
}

func (m *farMusixmatch) close() {
	m.Server.Close()
	m.https.Close()
}

// transport is a pool of connections to it, as an application has one.
func (m *farMusixmatch) transport() *http.Transport {
	roots := x509.NewCertPool()
	roots.AddCert(m.https.Certificate())
	return &http.Transport{DialContext: m.connect, TLSClientConfig: &tls.Config{RootCAs: roots}, MaxIdleConnsPerHost: 2 * rushCallers}
}

// connect takes a round trip, as TCP does.
func (m *farMusixmatch) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	m.dials.Add(1)
	select {
	case <-time.After(time.Duration(m.roundTrip.Load())):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	conn, err := m.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &farConn{Conn: conn, server: m, out: make(chan chunk, 256), in: make(chan chunk, 256), closed: make(chan struct{})}
	go c.deliver()
	go c.receive()
	return c, nil
}

// farConn delivers everything half a round trip later, in both directions.
type farConn struct {
	net.Conn
	server  *farMusixmatch
	out, in chan chunk
	rest    chunk // of what was read last
	closed  chan struct{}
	once    sync.Once
}

// chunk is what was written or read at once.
type chunk struct {
	due  time.Time
	data []byte
	err  error
}

func (c *farConn) later(data []byte, err error) chunk {
	return chunk{time.Now().Add(time.Duration(c.server.roundTrip.Load() / 2)), bytes.Clone(data), err}
}

// arrived waits until ch is due. It reports false if the connection is closed before.
func (c *farConn) arrived(ch chunk) bool {
	select {
	case <-time.After(time.Until(ch.due)):
		return true
	case <-c.closed:
		return false
	}
}

func (c *farConn) deliver() {
	for {
		select {
		case ch := <-c.out:
			if !c.arrived(ch) {
				return
			}
			if _, err := c.Conn.Write(ch.data); err != nil {
				return
			}
		case <-c.closed:
			return
		}
	}
}

func (c *farConn) receive() {
	buf := make([]byte, 32<<10)
	for {
		n, err := c.Conn.Read(buf)
		select {
		case c.in <- c.later(buf[:n], err):
		case <-c.closed:
			return
		}
		if err != nil {
			return
		}
	}
}

func (c *farConn) Read(b []byte) (int, error) {
	if len(c.rest.data) == 0 && c.rest.err == nil {
		select {
		case c.rest = <-c.in:
			if !c.arrived(c.rest) {
				return 0, net.ErrClosed
			}
		case <-c.closed:
			return 0, net.ErrClosed
		}
	}
	n := copy(b, c.rest.data)
	c.rest.data = c.rest.data[n:]
	if n == 0 {
		return 0, c.rest.err
	}
	return n, nil
}

func (c *farConn) Write(b []byte) (int, error) {
	select {
	case c.out <- c.later(b, nil):
		return len(b), nil
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *farConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
