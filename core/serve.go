package core

import (
	"time"

	"golang.org/x/oauth2"
)

// left is how much life the grant's access token has, as far as scheduling is
// concerned, by the server's clock.
func (r *refresher) left(gr grant) time.Duration {
	return gr.Issued.Add(max(gr.ExpiresIn, shortestLife)).Sub(r.a.musixmatch.clock.now())
}

func (r *refresher) fresh(k *keeper, gr grant) bool {
	return r.left(gr) > r.window(max(gr.ExpiresIn, shortestLife), k.early)
}

// cache makes the grant's access token what callers get.
func (f *flight) cache(gr grant) *served {
	s := f.r.serve(f.k, gr)
	if s != nil && f.k.watch.gen == gr.Gen && f.k.watch.dead {
		s.fresh, s.valid = 0, 0
	}
	f.k.show(s, gr.Gen)
	return s
}

// serve prepares the grant's access token for callers; nil if it has none.
func (r *refresher) serve(k *keeper, gr grant) *served {
	if gr.Access == "" {
		return nil
	}
	now, left := r.now(), r.left(gr)
	s := &served{gen: gr.Gen, valid: now + left}
	s.fresh = now + min(r.lease, left-r.window(max(gr.ExpiresIn, shortestLife), k.early))
	if gr.Refresh == "" {
		s.fresh = now + min(r.lease, left)
	}
	if old := k.cached.Load(); old != nil && old.gen == gr.Gen && old.token.AccessToken == gr.Access {
		s.token = old.token
	} else {
		s.token = &oauth2.Token{AccessToken: gr.Access, TokenType: "Bearer", Expiry: time.Now().Add(left)}
	}
	return s
}

// serveFor serves a token for d without another look at the store.
func (f *flight) serveFor(s *served, d time.Duration) *served {
	longer := *s
	longer.fresh = f.r.now() + d
	longer.valid = max(longer.valid, longer.fresh)
	f.k.show(&longer, s.gen)
	return &longer
}
