package core

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
)

// detached returns the session's context without the request's end, with a
// limit of its own: a browser that goes away must not stop a write.
func (s *session) detached(limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(s), limit)
}

// save writes a changed session to the store and its cookie to h, once, before
// the first byte of the answer.
func (s *session) save(w http.ResponseWriter) error {
	if s.auth.cfg.AppUser != nil {
		s.link.Lock()
		defer s.link.Unlock()
		if s.link.appUser != "" && !s.saved { // the answer may depend on whom we found linked
			s.saved, s.user = true, s.link.user
			s.forbidCaching(w.Header())
		}
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.saved {
		return nil
	}
	s.saved = true
	h := w.Header()
	defer s.forbidCaching(h)
	sm := s.auth.sessions
	status := s.status()
	if s.foreign {
		if s.forget && s.token != "" && status == scs.Unmodified { // a logout that failed, where nothing is saved around us
			sm.WriteSessionCookie(s, w, "", time.Time{})
		}
		return nil
	}
	s.changed = status == scs.Modified
	if s.hasCookie(h) {
		return nil
	}
	switch status {
	case scs.Modified:
		return s.commit(w)
	case scs.Destroyed:
		s.forget = s.token != ""
	}
	if s.forget {
		sm.WriteSessionCookie(s, w, "", time.Time{})
	}
	return nil
}

func (s *session) commit(w http.ResponseWriter) error {
	if s.unavailable != nil {
		return s.unavailable // a new session would take the place of one that is only out of reach
	}
	ctx, cancel := s.detached(sessionTimeout)
	defer cancel()
	s.noteUse()
	token, expiry, err := s.auth.sessions.Commit(ctx)
	if err != nil {
		return err
	}
	if token != s.token || s.auth.sessions.IdleTimeout > 0 { // then the cookie's end moves, too
		s.auth.sessions.WriteSessionCookie(s, w, token, expiry)
	}
	return nil
}

// saveLate stores a change that was made after the first byte. Only a session
// that the browser already has a cookie for can be saved then.
func (s *session) saveLate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.foreign || s.changed || s.auth.cfg.AppUser != nil || s.status() != scs.Modified {
		return
	}
	ctx, cancel := s.detached(sessionTimeout)
	defer cancel()
	if s.token == "" || s.unavailable != nil || s.auth.sessions.Token(s) != s.token {
		s.auth.log.WarnContext(ctx, "musixmatch session changed after the first byte of the answer; the change is lost")
		return
	}
	s.noteUse()
	if _, _, err := s.auth.sessions.Commit(ctx); err != nil {
		s.auth.log.ErrorContext(ctx, "musixmatch session not saved", "error", err.Error())
	}
}

// hasCookie reports whether an inner LoadAndSave has saved already.
func (s *session) hasCookie(h http.Header) bool {
	for _, line := range h["Set-Cookie"] {
		if strings.HasPrefix(line, s.auth.sessions.Cookie.Name+"=") {
			return true
		}
	}
	return false
}

// forbidCaching keeps shared caches away from an answer that may depend on who
// asks. A handler's own Cache-Control stands where nobody is signed in and no
// cookie is set, or where it is at least private.
func (s *session) forbidCaching(h http.Header) {
	if vary := h["Vary"]; len(vary) == 0 {
		s.headers[0] = "Cookie"
		h["Vary"] = s.headers[:1:1]
	} else if !slices.Contains(vary, "Cookie") {
		h.Add("Vary", "Cookie")
	}
	own := h["Cache-Control"]
	if len(own) > 0 && len(h["Set-Cookie"]) == 0 {
		text := strings.ToLower(strings.Join(own, ","))
		if s.user == "" || strings.Contains(text, "private") || strings.Contains(text, "no-store") {
			return
		}
	}
	s.headers[1] = "no-store"
	h["Cache-Control"] = s.headers[1:2:2]
}
