package grant

import (
	"time"

	"golang.org/x/oauth2"
)

// left is how much life the grant's access token has, as far as scheduling is
// concerned, by the server's clock.
func (m *Manager) left(gr grant) time.Duration {
	now, _ := m.server.Now()
	return gr.Issued.Add(max(gr.ExpiresIn, shortestLife)).Sub(now)
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

// serve prepares the grant's access token for callers; nil if it has none.
func (m *Manager) serve(e *entry, gr grant) *served {
	if gr.Access == "" {
		return nil
	}
	now, left := m.clock.Elapsed(), m.left(gr)
	s := &served{generation: gr.Generation, valid: now + left}
	s.fresh = now + min(m.intentLease, left-m.window(max(gr.ExpiresIn, shortestLife), e.early))
	if gr.Refresh == "" {
		s.fresh = now + min(m.intentLease, left)
	}
	if old := e.cached.Load(); old != nil && old.generation == gr.Generation && old.token.AccessToken == gr.Access {
		s.token = old.token
	} else {
		s.token = &oauth2.Token{AccessToken: gr.Access, TokenType: "Bearer", Expiry: time.Now().Add(left)}
	}
	return s
}

// serveFor serves a token for d without another look at the store.
func (f *flight) serveFor(s *served, d time.Duration) *served {
	longer := *s
	longer.fresh = f.m.clock.Elapsed() + d
	longer.valid = max(longer.valid, longer.fresh)
	f.e.show(&longer, s.generation)
	return &longer
}
