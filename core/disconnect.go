package core

import (
	"context"
	"net/http"

	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

// Disconnect ends the user's grant. It deletes the tokens here, and revokes them
// at Musixmatch if Endpoint.RevocationURL is set. A refresh that is under way
// does not bring them back. The user's consent may persist at Musixmatch. The user
// stays signed in; see [Auth.SignOutEverywhere].
//
// A user without a grant is no error. An empty userID is [ErrNotSignedIn].
// [ErrUnavailable] means that the grant may still be there. Safe for concurrent use.
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

// serveDisconnect ends the grant, then the application's link or the session and
// its cookie. After a failure on the way the browser can try again.
func (a *Auth) serveDisconnect(w http.ResponseWriter, r *http.Request, s *session.Session) error {
	user, err := s.UserID(r.Context())
	if err != nil {
		return a.errorResponse(w, "disconnect", ErrUnavailable, err)
	}
	appUser := s.AppUser(r.Context())
	switch {
	case appUser != "" && user == "":
		return a.errorResponse(w, "disconnect", ErrNotConnected, nil)
	case user == "" && a.cfg.AppUser != nil:
		return a.errorResponse(w, "disconnect", ErrNotSignedIn, nil)
	case user == "":
		return a.notSignedIn(w, r, "disconnect")
	}
	ctx, cancel := s.Detached(callbackTimeout)
	defer cancel()
	if err := a.Disconnect(ctx, user); err != nil {
		return a.errorResponse(w, "disconnect", ErrUnavailable, err)
	}
	if a.cfg.OnDisconnect != nil {
		err := a.callBack(ctx, "OnDisconnect", func() error { return a.cfg.OnDisconnect(ctx, appUser, user) })
		if err != nil {
			return a.errorResponse(w, "disconnect", ErrUnavailable, err)
		}
	}
	if err := a.endSession(w, s, ctx, "disconnect"); err != nil {
		return err
	}
	seeOther(w, a.site.browserPath(a.cfg.AfterLogout))
	return nil
}

// endSession signs out and removes the cookie. If the store cannot be reached,
// it returns an error and removes the cookie all the same.
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
