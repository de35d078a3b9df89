package grant

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
)

// served is a token as callers get it. How old it is says the clock, monotonic
// or wall, that has moved on further: one of them stands still while the machine
// is suspended.
type served struct {
	token      *oauth2.Token // shared by all callers
	generation int64
	at         musixmatch.Moment
	fresh      time.Duration // for so long after at it is served without a look at the store
	valid      time.Duration // for so long it is served when there is nothing better
	ends       time.Duration // so long after at the token ends, as far as is known
	agreed     atomic.Int64  // when the wall clock was last asked, on the monotonic one
}

// wallEvery is how rarely the wall clock is asked on the hot path, where it
// would be most of the cost: after so much monotonic time, or when none has passed.
const wallEvery = time.Millisecond

func (m *Manager) isFresh(s *served) bool {
	elapsed := m.clock.Elapsed()
	if elapsed-s.at.Elapsed >= s.fresh {
		return false
	}
	if since := elapsed - time.Duration(s.agreed.Load()); since > 0 && since < wallEvery {
		return true
	}
	if m.clock.Since(s.at) >= s.fresh {
		return false
	}
	s.agreed.Store(int64(elapsed))
	return true
}

// left is how much life the grant's access token has, as far as scheduling is
// concerned, by the server's clock.
func (m *Manager) left(gr grant) time.Duration {
	now, _ := m.server.Now()
	return gr.Issued.Add(max(gr.ExpiresIn, shortestLife)).Sub(now)
}

// ends is in how long the grant's access token ends. Scheduling makes more of a
// life that is shorter than it bothers about.
func (m *Manager) ends(gr grant) time.Duration {
	if now, known := m.server.Now(); known && gr.ExpiryKnown && gr.ExpiresIn > 0 {
		return gr.Issued.Add(gr.ExpiresIn).Sub(now)
	}
	return m.left(gr)
}

// suits reports whether s may be of use to a caller whose token was rejected, or
// to one who comes for the first time: rejected is empty then.
func (s *served) suits(clock musixmatch.Clock, rejected string) bool {
	return s.token.AccessToken != rejected && (rejected == "" || clock.Since(s.at) < s.ends)
}

func (m *Manager) fresh(e *entry, gr grant) bool {
	return m.left(gr) > m.window(max(gr.ExpiresIn, shortestLife), e.early)
}

// cache makes the grant's access token what callers get.
func (f *flight) cache(gr grant) *served {
	s := f.m.serve(f.e, gr)
	if s != nil && f.e.watch.generation == gr.Generation && f.e.watch.dead {
		s.fresh, s.valid = 0, 0
	}
	f.e.show(s, gr.Generation)
	return s
}

// unheard is how long a token is believed to be fresh by a clock of ours that
// may be wrong, so that it is judged anew soon after the server has said the time.
const unheard = time.Second

// serve prepares the grant's access token for callers; nil if it has none.
func (m *Manager) serve(e *entry, gr grant) *served {
	if gr.Access == "" {
		return nil
	}
	left := m.left(gr)
	s := &served{generation: gr.Generation, at: m.clock.Now(), valid: left, ends: m.ends(gr)}
	s.fresh = min(m.intentLease, left-m.window(max(gr.ExpiresIn, shortestLife), e.early))
	if gr.Refresh == "" {
		s.fresh = min(m.intentLease, left)
	}
	if _, known := m.server.Now(); !known {
		s.fresh = min(s.fresh, unheard)
	}
	if old := e.cached.Load(); old != nil && old.generation == gr.Generation && old.token.AccessToken == gr.Access {
		s.token = old.token
	} else {
		s.token = &oauth2.Token{AccessToken: gr.Access, TokenType: "Bearer", Expiry: time.Now().Add(left)}
	}
	return s
}

// serveFor serves a token, which was read just now, for d without another look
// at the store: at most for a lease, since somebody elsewhere may disconnect.
func (f *flight) serveFor(s *served, d time.Duration) *served {
	longer := &served{token: s.token, generation: s.generation, at: f.m.clock.Now(), fresh: min(d, f.m.intentLease)}
	longer.ends = s.ends - f.m.clock.Since(s.at)
	longer.valid = max(s.valid-f.m.clock.Since(s.at), longer.fresh)
	f.e.show(longer, s.generation)
	return longer
}

// learnTime lets the server say what time it is, if it has not yet. Until then
// our own clock would decide whether a token from before this process is
// believed, and that clock may be wrong. Without an answer within a second the
// token is served for another; a 401 corrects it. If our clock says that a refresh is due, a
// connection for it is dialled meanwhile.
func (f *flight) learnTime() {
	m := f.m
	known := func() bool { _, known := m.server.Now(); return known }
	if f.gr.Access == "" || known() {
		return
	}
	if !m.fresh(f.e, f.gr) {
		f.dialAhead()
	}
	ctx, cancel := context.WithTimeout(f.ctx, time.Second)
	defer cancel()
	select {
	case m.timeSem <- struct{}{}: // one asks, and the others wait for the same answer
		defer m.timeSem.release()
	case <-ctx.Done():
		return
	}
	last := time.Duration(m.timeAsked.Load())
	if known() || last != 0 && m.now()-last < m.confirmWait {
		return
	}
	m.timeAsked.Store(int64(m.now()))
	if _, err := m.introspect(ctx, f.gr.Access); err == nil {
		m.timeAsked.Store(0)
	}
}
