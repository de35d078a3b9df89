package musixmatch

import (
	"context"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// dialTimeout is how long a connection may take, TLS included.
const dialTimeout = 10 * time.Second

// Answer is what became of a refresh: tokens, or an error.
type Answer struct {
	Tokens *Tokens
	Err    error // a *CallError
}

// Refresh is one presentation of a refresh token (RFC 6749 section 6), on a
// connection of its own. It is safe for concurrent use.
type Refresh struct {
	gate   *gate
	cancel context.CancelFunc
	may    atomic.Pointer[func() bool] // nil until Send
	sent   chan struct{}               // closed by Send
	once   sync.Once
	answer chan Answer
}

// Connect dials for one refresh, TLS included, and sends nothing. It takes 10
// seconds at most, and less if ctx ends before. The caller must call Close.
func (c *Client) Connect(ctx context.Context, refreshToken string) (*Refresh, error) {
	live, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &Refresh{cancel: cancel, sent: make(chan struct{}), answer: make(chan Answer, 1)}
	stands := make(chan struct{})
	stand := sync.OnceFunc(func() { close(stands) })
	r.gate = &gate{
		clock: c.clock,
		// net/http goes on to write when it is released by the end of live.
		may: func() bool {
			may := r.may.Load()
			return may != nil && (*may)()
		},
		stands: func() {
			stand()
			select {
			case <-r.sent:
			case <-live.Done():
			}
		},
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}}
	exchange := func() {
		t, err := c.token(live, form, r.gate)
		r.answer <- Answer{t, err}
	}
	if !gated(c.single) { // it dials when it sends
		go func() {
			r.gate.stands()
			exchange()
		}()
		return r, nil
	}
	go exchange()
	limit := time.NewTimer(dialTimeout)
	defer limit.Stop()
	var err error
	select {
	case <-stands:
		return r, nil
	case a := <-r.answer:
		err = a.Err
	case <-limit.C:
		err = &CallError{What: tokenEndpoint, Cause: context.DeadlineExceeded}
	case <-ctx.Done():
		err = &CallError{What: tokenEndpoint, Cause: ctx.Err()}
	}
	cancel()
	return nil, err
}

// Send presents the refresh token, once. may is asked immediately before the
// first byte; if it says no, nothing is sent. The answer comes whenever it comes,
// and tells whether a byte was sent.
func (r *Refresh) Send(may func() bool) <-chan Answer {
	r.once.Do(func() {
		r.may.Store(&may)
		close(r.sent)
	})
	return r.answer
}

// Reset ends the connection so that what has not been delivered is thrown away.
func (r *Refresh) Reset() {
	r.gate.withdraw()
	if conn := r.gate.conn.Load(); conn != nil {
		conn.reset()
	}
	r.cancel()
}

// Close ends the connection. What was not sent never will be.
func (r *Refresh) Close() {
	r.gate.withdraw()
	r.cancel()
}
