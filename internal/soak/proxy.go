//go:build unix

package main

import (
	"net"
	"sync"
)

// proxy stands between the instances and their store. It can cut all
// connections, and it can be a hole: what is sent arrives when the hole is over,
// as after a network that was gone, also what nobody waits for any more.
type proxy struct {
	addr, target string
	listener     net.Listener
	wg           sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	hole  chan struct{} // closed when it is over; nil: there is none
}

func startProxy(target string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{addr: l.Addr().String(), target: target, listener: l, conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	return p, nil
}

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	p.track(true, client, server)
	defer p.track(false, client, server)
	var answers sync.WaitGroup
	answers.Go(func() {
		p.copy(client, server)
		client.Close()
	})
	p.copy(server, client)
	server.Close()
	answers.Wait()
}

func (p *proxy) copy(to, from net.Conn) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		p.mu.Lock()
		hole := p.hole
		p.mu.Unlock()
		if hole != nil {
			<-hole
		}
		if n > 0 {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *proxy) track(open bool, conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if open {
			p.conns[c] = true
		} else {
			delete(p.conns, c)
		}
	}
}

func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

func (p *proxy) setHole(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hole != nil {
		close(p.hole)
		p.hole = nil
	}
	if on {
		p.hole = make(chan struct{})
	}
}

func (p *proxy) close() {
	p.listener.Close()
	p.setHole(false)
	p.cut()
	p.wg.Wait()
}
