package core

import (
	"net/http"

	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

// serveLogout ends this browser's session. The grant stays, for the user's other
// devices and for background jobs.
func (a *Auth) serveLogout(w http.ResponseWriter, r *http.Request, s *session.Session) error {
	user, _ := s.UserID(r.Context())
	ctx, cancel := s.Detached(session.StoreTimeout)
	defer cancel()
	if err := a.endSession(w, s, ctx, "logout"); err != nil {
		return err
	}
	if user != "" {
		a.emit(ctx, Event{Kind: EventLogout, User: a.userHash(user)})
	}
	seeOther(w, a.site.browserPath(a.cfg.AfterLogout))
	return nil
}
