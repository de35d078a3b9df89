package grant

import (
	"context"
	"time"
)

// nearby is how long callers wait for a connection before they are served the
// old token instead.
const nearby = 5 * time.Millisecond

// dialing is a connection for one refresh token, or the attempt to get one.
type dialing struct {
	refresh string
	stands  chan struct{} // closed when conn or err is there
	conn    Conn
	err     error
	cancel  context.CancelFunc
}

// dial begins to connect for the refresh token at hand, so that the connection
// stands when it is needed. Nothing is sent on it.
func (f *flight) dial() {
	if f.dialing != nil && f.dialing.refresh == f.gr.Refresh {
		return
	}
	f.hangUp()
	ctx, cancel := context.WithCancel(f.ctx)
	d := &dialing{refresh: f.gr.Refresh, stands: make(chan struct{}), cancel: cancel}
	f.dialing = d
	go func() {
		defer close(d.stands)
		d.conn, d.err = f.m.server.Connect(ctx, d.refresh)
	}()
}

// dialAhead dials while the server is asked about the token, unless the refresh
// that may follow is in doubt already.
func (f *flight) dialAhead() {
	if f.gr.Refresh != "" && f.gr.Intent == nil {
		f.dial()
	}
}

// connect returns a connection for the refresh token at hand.
func (f *flight) connect() (Conn, error) {
	f.dial()
	d := f.dialing
	near := time.NewTimer(nearby)
	defer near.Stop()
	for connecting := true; connecting; {
		select {
		case <-d.stands:
			connecting = false
		case <-near.C:
			f.offer() // callers need not wait for a connection
		case <-f.m.live.Done():
			f.hangUp()
			return nil, errClosed
		}
	}
	if d.err != nil {
		f.dialing = nil
		d.cancel()
	}
	return d.conn, d.err
}

// hangUp ends the connection, or the attempt to get one.
func (f *flight) hangUp() {
	d := f.dialing
	if d == nil {
		return
	}
	f.dialing = nil
	d.cancel()
	go func() {
		<-d.stands
		if d.conn != nil {
			d.conn.Close()
		}
	}()
}
