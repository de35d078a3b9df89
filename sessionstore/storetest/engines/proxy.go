package engines

import (
	"bytes"
	"net"
	"sync"
	"testing"
)

// Proxy stands between a client and a server and cuts the connection at the
// moment that hurts most. It is safe for concurrent use.
type Proxy struct {
	Addr string // host:port

	target   string
	listener net.Listener
	wg       sync.WaitGroup

	mu            sync.Mutex
	conns         map[net.Conn]bool
	before, after []byte
	cuts          int
	down          bool
}

// StartProxy starts a proxy for the server at target.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), target: target, listener: l, conns: make(map[net.Conn]bool)}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.CutAll()
		p.wg.Wait()
	})
	return p
}

// CutBefore cuts the connection on which a request comes that holds these bytes,
// once, and instead of passing it on: the server never sees it.
func (p *Proxy) CutBefore(request string) { p.arm(&p.before, request) }

// CutAfter cuts the connection on which a request comes that holds these bytes,
// once, when the server has answered it: the answer is lost.
func (p *Proxy) CutAfter(request string) { p.arm(&p.after, request) }

func (p *Proxy) arm(what *[]byte, request string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*what = []byte(request)
}

// Cuts returns how many connections CutBefore and CutAfter have cut.
func (p *Proxy) Cuts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cuts
}

// CutAll cuts all connections of the moment.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// SetDown cuts all connections and, while it is set, every new one.
func (p *Proxy) SetDown(down bool) {
	p.mu.Lock()
	p.down = down
	p.mu.Unlock()
	if down {
		p.CutAll()
	}
}

// SetTarget sends new connections to another server, as a failover does, and
// cuts the others.
func (p *Proxy) SetTarget(target string) {
	p.mu.Lock()
	p.target = target
	p.mu.Unlock()
	p.CutAll()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	p.mu.Lock()
	target, down := p.target, p.down
	p.mu.Unlock()
	if down {
		return
	}
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	p.track(client, true)
	p.track(server, true)
	defer p.track(client, false)
	defer p.track(server, false)

	var mu sync.Mutex
	swallow := false
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer client.Close()
		b := make([]byte, 64<<10)
		for {
			n, err := server.Read(b)
			if err != nil {
				return
			}
			mu.Lock()
			lost := swallow
			mu.Unlock()
			if lost {
				return
			}
			if _, err := client.Write(b[:n]); err != nil {
				return
			}
		}
	}()
	b := make([]byte, 64<<10)
	for {
		n, err := client.Read(b)
		if err != nil {
			break
		}
		before, after := p.match(b[:n])
		if before {
			break
		}
		if after {
			mu.Lock()
			swallow = true
			mu.Unlock()
		}
		if _, err := server.Write(b[:n]); err != nil {
			break
		}
	}
	if s, ok := server.(*net.TCPConn); ok {
		_ = s.CloseWrite()
	}
	mu.Lock()
	lost := swallow
	mu.Unlock()
	if !lost {
		server.Close()
	}
	<-done
}

// match says what to do with a request, and disarms.
func (p *Proxy) match(request []byte) (before, after bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case len(p.before) > 0 && bytes.Contains(request, p.before):
		p.before, p.cuts = nil, p.cuts+1
		return true, false
	case len(p.after) > 0 && bytes.Contains(request, p.after):
		p.after, p.cuts = nil, p.cuts+1
		return false, true
	}
	return false, false
}

func (p *Proxy) track(c net.Conn, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if open {
		p.conns[c] = true
	} else {
		delete(p.conns, c)
	}
}
