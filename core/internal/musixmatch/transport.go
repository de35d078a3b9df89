package musixmatch

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/recovery"
)

// newTransport takes the dialler, the proxy and the TLS settings of base, and
// nothing that can end, delay or repeat a POST. Its connections speak HTTP/1
// and ask a gate before the first byte of a request. Without keepAlive each
// serves one request: on a connection that was idle, EOF cannot tell "never
// arrived" from "answer lost". A base of another type is returned as it is.
func newTransport(base http.RoundTripper, keepAlive bool) http.RoundTripper {
	t, ok := base.(*http.Transport)
	switch {
	case base == nil:
		t = &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext}
	case !ok:
		return base
	default:
		t = t.Clone()
	}
	t.TLSHandshakeTimeout, t.ResponseHeaderTimeout, t.ExpectContinueTimeout = dialTimeout, 0, 0
	t.MaxConnsPerHost, t.MaxIdleConns, t.MaxIdleConnsPerHost = 0, 0, 8
	t.IdleConnTimeout = 30 * time.Second
	if t.TLSClientConfig == nil {
		t.TLSClientConfig = &tls.Config{}
	}
	t.TLSClientConfig.MinVersion = max(t.TLSClientConfig.MinVersion, tls.VersionTLS12)
	t.TLSClientConfig.NextProtos = nil
	t.DisableKeepAlives = !keepAlive
	t.DisableCompression = true
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
	t.DialContext = gatedDialer(dial)
	if dialTLS != nil {
		t.DialTLSContext = gatedDialer(dialTLS)
	}
	return t
}

// SendsOnce reports whether rt, which is not a *http.Transport, declares that it
// never sends a request twice.
func SendsOnce(rt http.RoundTripper) bool {
	s, ok := rt.(interface{ SendsOnce() bool })
	return ok && s.SendsOnce()
}

// gate stands between a connection that is ready, TLS included, and the first
// byte of a request: the last moment at which not sending is possible.
type gate struct {
	clock  Clock
	may    func() bool // nil: always
	stands func()      // is told that the connection stands, and may wait; or nil
	state  atomic.Int32
	passed atomic.Pointer[Moment] // when
	reused atomic.Bool            // the connection has been idle
	conn   atomic.Pointer[gatedConn]
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
	now := g.clock.Now()
	g.passed.Store(&now)
	if !g.state.CompareAndSwap(gateShut, gatePassed) {
		return errTooLate
	}
	return nil
}

// since is the time since the first byte.
func (g *gate) since() time.Duration {
	if passed := g.passed.Load(); passed != nil {
		return g.clock.Since(*passed)
	}
	return 0
}

// withdraw shuts the gate for good and reports whether a byte may have passed.
func (g *gate) withdraw() (sent bool) {
	g.state.CompareAndSwap(gateShut, gateWithdrawn)
	return g.state.Load() == gatePassed
}

// on returns ctx for a request whose connection asks g.
func (g *gate) on(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		g.reused.Store(info.Reused)
		if c := find[*gatedConn](info.Conn); c != nil {
			c.gate.Store(g)
			g.conn.Store(c)
		}
		if g.stands != nil {
			g.stands()
		}
	}})
}

// find returns the connection of type T at or beneath conn, or the zero T.
func find[T net.Conn](conn net.Conn) (none T) {
	for conn != nil {
		switch c := conn.(type) {
		case T:
			return c
		case interface{ NetConn() net.Conn }: // *tls.Conn, *gatedConn
			conn = c.NetConn()
		default:
			return none
		}
	}
	return none
}

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

func gatedDialer(dial dialer) dialer {
	return func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
		defer recovery.Catch(&err) // net/http dials in a goroutine of its own
		conn, err = dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &gatedConn{Conn: conn}, nil
	}
}

// gatedConn asks its gate before the first write that follows its being set.
type gatedConn struct {
	net.Conn
	gate   atomic.Pointer[gate]
	closed atomic.Bool
}

// Close closes the connection.
func (c *gatedConn) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}

// NetConn returns the connection beneath.
func (c *gatedConn) NetConn() net.Conn { return c.Conn }

// reset closes the connection and throws away what the kernel has not delivered
// yet. Close alone would let it be delivered.
func (c *gatedConn) reset() {
	if tcp := find[*net.TCPConn](c.Conn); tcp != nil {
		_ = tcp.SetLinger(0)
		_ = tcp.Close() // beneath TLS, which would say goodbye first
	}
	_ = c.Conn.Close()
}

func (c *gatedConn) Write(b []byte) (int, error) {
	if g := c.gate.Swap(nil); g != nil {
		if err := g.pass(); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(b)
}

// gated reports whether the connections of rt ask gates.
func gated(rt http.RoundTripper) bool {
	_, ours := rt.(*http.Transport)
	return ours
}
