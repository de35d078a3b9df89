package grant

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
	"time"
)

// An errand is why Maintain begins a flight: no caller waits for a token, but
// something has to be done about the grant. Otherwise the flight is like any other,
// and callers may join it.
type errand struct {
	pace  *pace  // nil: a flight for callers
	due   int64  // the generation that is to be refreshed though its token lives; 0: none
	doubt string // the intent whose outcome is to be found out; "": none
}

// concerns reports whether what the errand is for has not been done to gr.
func (er errand) concerns(gr grant) bool {
	return er.due != 0 && gr.Generation == er.due || er.doubt != "" && gr.Intent != nil && gr.Intent.ID == er.doubt
}

// onErrand does er for gr, or joins the flight that there is, and waits for its
// end: at most two leases, after which it goes on alone.
func (m *Manager) onErrand(ctx context.Context, gr grant, er errand) error {
	ctx, cancel := context.WithTimeout(ctx, 2*m.intentLease)
	defer cancel()
	e := m.entries.locked(gr.Sub)
	f := e.flight
	if f == nil {
		if f = m.launch(e, "", er); f == nil {
			e.mu.Unlock()
			return errClosed
		}
	}
	res := f.wait(ctx, nil, gr.Access) // the old token will not do
	if res.err == nil && res.served.generation == er.due {
		return errBackedOff
	}
	return res.err
}

// needed reports whether a caller has come for the token of this flight.
func (f *flight) needed() bool {
	f.e.mu.Lock()
	defer f.e.mu.Unlock()
	return f.called
}

// isDue reports whether gr is to be kept alive: when the last refresh is between
// 0.8 and 1 times every ago. The share depends on the grant, so that those who
// signed in together are not due together for ever, and on nothing else: whoever
// sweeps next comes to the same result.
func (m *Manager) isDue(gr grant, every time.Duration) bool {
	if every <= 0 || gr.Refresh == "" {
		return false
	}
	sum := sha256.Sum256(fmt.Append(nil, gr.GrantID, gr.Generation))
	share := 0.8 + 0.2*float64(binary.BigEndian.Uint32(sum[:]))/(1<<32)
	now, _ := m.server.Now()
	return now.Sub(gr.Issued) >= time.Duration(share*float64(every))
}

// pace spaces the calls to the server that Maintain causes.
type pace struct {
	apart time.Duration
	mu    sync.Mutex
	next  time.Time
}

type paceKey struct{}

// withPace returns a context whose calls to the server keep the pace of p.
func withPace(ctx context.Context, p *pace) context.Context {
	return context.WithValue(ctx, paceKey{}, p)
}

// keepPace waits until the pace of ctx, if it has one, lets a call begin.
func keepPace(ctx context.Context) error {
	p, ok := ctx.Value(paceKey{}).(*pace)
	if !ok {
		return nil
	}
	p.mu.Lock()
	if now := time.Now(); p.next.Before(now) {
		p.next = now
	}
	at := p.next
	p.next = at.Add(p.apart)
	p.mu.Unlock()
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
