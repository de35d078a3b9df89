package core

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// singleUse returns base restricted to one request per connection: on a
// connection that was idle, EOF cannot tell "never arrived" from "answer lost".
// Its connections ask a gate before the first byte of a request.
func singleUse(base http.RoundTripper) http.RoundTripper {
	t, ok := base.(*http.Transport)
	switch {
	case base == nil:
		t = &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSHandshakeTimeout: 5 * time.Second,
		}
	case !ok:
		return base
	default:
		t = t.Clone()
	}
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{}
	}
	t.TLSClientConfig.MinVersion = max(t.TLSClientConfig.MinVersion, tls.VersionTLS12)
	t.TLSClientConfig.NextProtos = nil
	t.DisableKeepAlives = true
	t.MaxResponseHeaderBytes = maxResponseHeader
	// HTTP/2 repeats requests on its own authority; HTTP/1 without GetBody does not.
	t.ForceAttemptHTTP2 = false
	t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)

	// The deprecated fields are in force where their successors are not set.
	dial, dialTLS := t.DialContext, t.DialTLSContext
	//lint:ignore SA1019 see above
	if plain := t.Dial; dial == nil && plain != nil {
		dial = func(_ context.Context, network, addr string) (net.Conn, error) { return plain(network, addr) }
	}
	//lint:ignore SA1019 see above
	if plain := t.DialTLS; dialTLS == nil && plain != nil {
		dialTLS = func(_ context.Context, network, addr string) (net.Conn, error) { return plain(network, addr) }
	}
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	t.DialContext = gated(dial)
	if dialTLS != nil {
		t.DialTLSContext = gated(dialTLS)
	}
	return t
}

func sendsOnce(rt http.RoundTripper) bool {
	s, ok := rt.(interface{ SendsOnce() bool })
	return ok && s.SendsOnce()
}

// gate stands between a connection that is ready, TLS included, and the first
// byte of a request: the last moment at which not sending is possible.
type gate struct {
	may   func() bool // nil: always
	state atomic.Int32
}

const (
	gateShut      = iota // nothing has passed
	gatePassed           // a byte may have been written
	gateWithdrawn        // the call has returned: what has not passed never will
)

var errTooLate = errors.New("too late to send")

func (g *gate) pass() error {
	if g.may != nil && !g.may() {
		return errTooLate
	}
	if !g.state.CompareAndSwap(gateShut, gatePassed) {
		return errTooLate
	}
	return nil
}

// withdraw shuts the gate for good and reports whether a byte may have passed.
func (g *gate) withdraw() (sent bool) {
	return !g.state.CompareAndSwap(gateShut, gateWithdrawn)
}

// on returns ctx for a request whose connection asks g.
func (g *gate) on(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		for conn := info.Conn; conn != nil; {
			switch c := conn.(type) {
			case *gatedConn:
				c.gate.Store(g)
				return
			case interface{ NetConn() net.Conn }: // *tls.Conn
				conn = c.NetConn()
			default:
				return
			}
		}
	}})
}

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

func gated(dial dialer) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &gatedConn{Conn: conn}, nil
	}
}

// gatedConn asks its gate before the first write that follows its being set.
type gatedConn struct {
	net.Conn
	gate atomic.Pointer[gate]
}

func (c *gatedConn) Write(b []byte) (int, error) {
	if g := c.gate.Swap(nil); g != nil {
		if err := g.pass(); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(b)
}
