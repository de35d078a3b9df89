package core

import (
	"context"
	"net/http"

	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

// Disconnect ends the user's grant: the tokens are deleted here, and revoked
// at Musixmatch if it says how. A refresh that is under way does not bring them
// back. Consent that was given at Musixmatch may persist there. Having nothing to end is not an
// error, but an empty userID is: [ErrNotSignedIn]. [ErrUnavailable] means that the grant may still
// be there. Safe for concurrent use.
func (a *Auth) Disconnect(ctx context.Context, userID string) error {
	if userID == "" {
		return fail("disconnect", ErrNotSignedIn, nil)
	}
	ended, err := a.grants.End(ctx, userID)
	if err != nil {
		return grantError("disconnect", err)
	}
	if ended {
		a.emit(ctx, Event{Kind: EventDisconnect, User: a.userHash(userID)})
	}
	return nil
}

// serveDisconnect ends the grant first, then the session, then the cookie: a
// failure on the way leaves the browser able to try again.
func (a *Auth) serveDisconnect(w http.ResponseWriter, r *http.Request, s *session.Session) error {
	user, err := s.UserID(r.Context())
	if err != nil {
		return a.errorResponse(w, "disconnect", ErrUnavailable, err)
	}
	switch {
	case a.cfg.AppUser != nil && s.AppUser(r.Context()) != "" && user == "":
		return a.errorResponse(w, "disconnect", ErrNotConnected, nil)
	case user == "":
		return a.errorResponse(w, "disconnect", ErrNotSignedIn, nil)
	}
	ctx, cancel := s.Detached(callbackTimeout)
	defer cancel()
	if err := a.Disconnect(ctx, user); err != nil {
		return a.errorResponse(w, "disconnect", ErrUnavailable, err)
	}
	if err := a.endSession(w, s, ctx, "disconnect"); err != nil {
		return err
	}
	seeOther(w, a.site.browserPath(a.cfg.AfterLogout))
	return nil
}

// endSession signs out and removes the cookie. The cookie goes even when the
// store cannot be reached, but then the error says so.
func (a *Auth) endSession(w http.ResponseWriter, s *session.Session, ctx context.Context, op string) error {
	err := s.SignOut(ctx)
	if saveErr := s.Save(w); err == nil {
		err = saveErr
	}
	if err != nil {
		return a.errorResponse(w, op, ErrUnavailable, err)
	}
	return nil
}
