package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes listens without a network, so that a bubble's time is exact.
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

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443} }

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	p.conns <- theirs
	return ours, nil
}

func newPipedMusixmatch() *farMusixmatch {
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	https := &httptest.Server{Listener: p, Config: &http.Server{}}
	return startFar(https, "https://127.0.0.1", p.dial)
}

// The round trips of mxmconnect, in a bubble where nothing else takes time.
func TestRoundTrips(t *testing.T) {
	ours := farContenders()[0]
	connections := map[string]int{"callback, cold": 1, "callback, warm": 0, "call, cold": 2, "call, warm": 0, "expired, cold": 3, "expired, warm": 1, "killed, warm": 1, "about to expire: the wait": 1}
	for _, work := range farWorks() {
		t.Run(work.title, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := ours.once(newPipedMusixmatch(), work, 80*time.Millisecond)
				t.Logf("%.2f round trips, %d connections", j.roundTrips, j.connections)
				if work.bar > 0 && j.roundTrips > work.bar {
					t.Errorf("%.2f round trips, want %.1f at most", j.roundTrips, work.bar)
				}
				if j.status != 0 && j.status != http.StatusOK {
					t.Errorf("the API answered %d", j.status)
				}
				if j.connections != connections[work.title] {
					t.Errorf("%d connections, want %d", j.connections, connections[work.title])
				}
			})
		})
	}
}
