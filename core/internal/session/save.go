package session

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
)

// Save writes a changed session to the store and its cookie to w, and keeps the
// answer out of shared caches. Call it before the first byte of the answer;
// only the first call counts.
func (s *Session) Save(w http.ResponseWriter) error {
	if s.manager.connects() {
		s.saveLink(w.Header())
		return nil
	}
	s.mu.Lock()
	first, user, forget := !s.saved, s.user, s.forget
	s.saved = true
	s.mu.Unlock()
	if !first {
		return nil
	}
	defer s.forbidCaching(w.Header(), user)
	return s.saveOnce(w, forget)
}

func (s *Session) saveOnce(w http.ResponseWriter, forget bool) error {
	status := s.status()
	s.changed.Store(status == scs.Modified)
	if status == scs.Modified && s.unavailable == nil {
		switch ok, err := s.enlist(); {
		case err != nil:
			return err
		case !ok:
			return s.drop()
		}
	}
	if s.foreign {
		if forget && s.token != "" && status == scs.Unmodified { // a logout failed, and nothing is saved around us
			s.removeCookie(w)
		}
		return nil
	}
	if s.hasCookie(w.Header()) {
		return nil
	}
	switch status {
	case scs.Modified:
		return s.commit(w)
	case scs.Destroyed:
		forget = s.token != ""
	}
	if forget {
		s.removeCookie(w)
	}
	return nil
}

func (s *Session) commit(w http.ResponseWriter) error {
	if s.unavailable != nil {
		return s.unavailable // a new session would replace one that is only out of reach
	}
	ctx, cancel := s.Detached(StoreTimeout)
	defer cancel()
	s.touchLoaded()
	m := s.manager.scs
	token, expiry, err := m.Commit(ctx)
	if err != nil {
		return err
	}
	if token != s.token || m.IdleTimeout > 0 { // then the cookie's end moves, too
		m.WriteSessionCookie(s, w, token, expiry)
	}
	return nil
}

func (s *Session) removeCookie(w http.ResponseWriter) {
	s.manager.scs.WriteSessionCookie(s, w, "", time.Time{})
}

// saveLate stores a change that was made after the first byte. It works only
// for a session that the browser already has a cookie for.
func (s *Session) saveLate() {
	if s.foreign || s.changed.Load() || s.manager.connects() || s.status() != scs.Modified {
		return
	}
	ctx, cancel := s.Detached(StoreTimeout)
	defer cancel()
	m := s.manager
	if s.token == "" || s.unavailable != nil || m.scs.Token(s) != s.token {
		m.opts.Logger.WarnContext(ctx, "musixmatch session changed after the first byte of the answer; the change is lost")
		return
	}
	s.touchLoaded()
	if _, _, err := m.scs.Commit(ctx); err != nil {
		m.opts.Logger.ErrorContext(ctx, "musixmatch session not saved", "error", err.Error())
	}
}

// hasCookie reports whether an inner LoadAndSave has saved already.
func (s *Session) hasCookie(h http.Header) bool {
	for _, line := range h["Set-Cookie"] {
		if strings.HasPrefix(line, s.manager.scs.Cookie.Name+"=") {
			return true
		}
	}
	return false
}

// forbidCaching keeps an answer that may depend on user out of shared caches. A
// handler's own Cache-Control stands if nobody is signed in and no cookie is
// set, or if it is at least private.
func (s *Session) forbidCaching(h http.Header, user string) {
	if vary := h["Vary"]; len(vary) == 0 {
		s.headers[0] = "Cookie"
		h["Vary"] = s.headers[:1:1]
	} else if !slices.Contains(vary, "Cookie") {
		h.Add("Vary", "Cookie")
	}
	own := h["Cache-Control"]
	if len(own) > 0 && len(h["Set-Cookie"]) == 0 {
		text := strings.ToLower(strings.Join(own, ","))
		if user == "" || strings.Contains(text, "private") || strings.Contains(text, "no-store") {
			return
		}
	}
	s.headers[1] = "no-store"
	h["Cache-Control"] = s.headers[1:2:2]
}
