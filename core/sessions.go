package core

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/alexedwards/scs/v2"

	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

// NewSessions returns a session manager with secure defaults over store: the
// cookie __Host-Http-mxm_session with Secure, HttpOnly and SameSite=Lax, tokens
// hashed in the store, a lifetime of 24 hours, and a codec that encodes basic
// types without gob. If RedirectURL is http, [New] removes Secure and the
// prefix. A session holds at most 1 MiB.
//
// IdleTimeout may be set. [Auth.Wrap] enforces it, and writes the session at
// most once per minute, or per tenth of the timeout if that is shorter. Idle
// time uses each instance's clock: an instance whose clock is ahead by more
// than the timeout ends sessions that are in use.
func NewSessions(store scs.CtxStore) *scs.SessionManager {
	return session.NewSessions(store, func(w http.ResponseWriter, r *http.Request, err error) {
		WriteError(w, r, fail("session", ErrUnavailable, err))
	})
}

// newSessions returns the manager of the sessions of a.
func newSessions(a *Auth) *session.Manager {
	c := a.cfg
	return session.New(session.Options{
		Sessions: c.Sessions, Secure: a.secure, AppUser: c.AppUser, LinkedUser: c.LinkedUser, Logger: c.Logger,
		Key:    "mxmconnect " + a.grants.Place(), // differs between two Auths that share Config.Sessions
		List:   a.sessionList(),
		Refuse: a.refuseUnsaved,
		Owner:  a,
	})
}

// refuseUnsaved answers a request whose session could not be saved.
func (a *Auth) refuseUnsaved(w http.ResponseWriter, r *http.Request, cause error) {
	err := a.errorResponse(w, "session", ErrUnavailable, cause)
	if !a.HandleError(w, r, err) {
		WriteError(w, r, err)
	}
}

// UserID returns the Musixmatch user ID of the user who is signed in, or "".
// ctx is the request's context. In connect mode the user is the one that
// Config.LinkedUser returns for the application's user.
//
// "" may also mean that nobody can say at the moment; [Auth.User] tells the two
// apart. Where there are several Auths, the user is that of the innermost
// RequireUser, or else of the innermost Wrap; Auth.User asks for one Auth.
func UserID(ctx context.Context) string { return session.UserID(ctx) }

// User returns the Musixmatch user ID of the user who is signed in with this
// Auth, or "" for nobody. ctx is the request's context inside [Auth.Wrap] or
// RequireUser; elsewhere nobody is signed in. The error is [ErrUnavailable]: the
// session could not be read, or Config.LinkedUser failed, so nobody can say.
// A page that would offer the sign-in to nobody answers with status 503 then.
func (a *Auth) User(ctx context.Context) (userID string, err error) {
	userID, err = a.sessions.User(ctx)
	if err != nil {
		return "", fail("user", ErrUnavailable, err)
	}
	return userID, nil
}

// WithUserID returns a copy of ctx in which userID is signed in. Use it in tests.
// [Auth.User] and RequireUser believe it only where the Auth has no session.
func WithUserID(ctx context.Context, userID string) context.Context {
	return session.WithUserID(ctx, userID)
}

// Wrap loads the session into the request's context, where [UserID] finds it,
// and saves it before the first byte of the answer: before Write, WriteHeader,
// Flush, Hijack or ReadFrom. If the session cannot be saved, the answer is an
// error, and nothing that next writes is sent. While the session store cannot
// be read, requests are anonymous and [Auth.Challenge] answers 503.
//
// If the application's own scs LoadAndSave is around Wrap, that one saves.
//
// Hijack saves the session but sends no cookie. A handler that has changed the
// session must copy Set-Cookie into what it writes itself.
func (a *Auth) Wrap(next http.Handler) http.Handler {
	if !a.wrapped.Load() {
		a.wrapped.Store(true)
	}
	if a.cfg.PathPrefix != "" {
		next = a.watchPrefix(next)
	}
	return a.sessions.Wrap(next)
}

// watchPrefix warns if a request has the prefix that somebody in front should
// have removed: the router will not find the routes of this package.
func (a *Auth) watchPrefix(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if within(r.URL.Path, a.cfg.PathPrefix) {
			a.warnOnce(&a.warned.prefix, r, "a request has the PathPrefix that a proxy or http.StripPrefix should have removed before the router",
				slog.String("prefix", a.cfg.PathPrefix))
		}
		next.ServeHTTP(w, r)
	})
}
