package core

import (
	"context"
	"errors"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/mxmconnect/mxmconnect/core/internal/browsers"
	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

// SessionInfo is a browser in which a user is signed in.
type SessionInfo struct {
	ID       string    // for [Auth.EndSession]; useless to sign in with
	SignedIn time.Time // when the sign-in was
	Until    time.Time // when the session ends at the latest
	Browser  string    // a short name such as "Firefox on Windows"
	Current  bool      // it is the session of the request that asks
}

// keeper is a session store in which no slow request brings back a session that
// was deleted. It says so.
type keeper interface {
	scs.CtxStore
	KeepsDeleted() bool
}

var errNotKept = errors.New("it needs sign-in mode, and a session store that declares KeepsDeleted")

// newBook returns the lists of who is signed in where, or nil if sessions
// cannot be ended for good.
func newBook(a *Auth) *browsers.Book {
	store, ok := a.cfg.Sessions.Store.(keeper)
	if a.cfg.AppUser != nil || !ok || !store.KeepsDeleted() {
		return nil
	}
	return browsers.New(browsers.Options{
		Store: grantStore{a.cfg.Grants}, Sessions: ender{a}, Keys: a.keys, Lifetime: a.cfg.Sessions.Lifetime,
		BaseURL: a.cfg.BaseURL, ClientID: a.cfg.ClientID,
	})
}

// ender ends the sessions of an Auth that is still being made.
type ender struct{ *Auth }

func (e ender) End(ctx context.Context, key string, until time.Time) error {
	return e.sessions.End(ctx, key, until)
}

// Sessions returns the browsers in which userID is signed in, the newest
// sign-in first: at most 100, because a further sign-in ends the first. A
// session that nobody has used for Sessions.IdleTimeout may still be among them.
// It reads one record, and then each session.
//
// The errors are those of [Auth.SignOutEverywhere]. Safe for concurrent use.
func (a *Auth) Sessions(ctx context.Context, userID string) ([]SessionInfo, error) {
	if err := a.listable("sessions", userID); err != nil {
		return nil, err
	}
	listed, err := a.browsers.List(ctx, userID)
	if err != nil {
		return nil, fail("sessions", ErrUnavailable, err)
	}
	current := ""
	if s := a.sessions.From(ctx); s != nil {
		current = s.ListedAs()
	}
	var infos []SessionInfo
	for _, b := range listed {
		holds, err := a.sessions.Holds(ctx, b.Key, userID)
		if err != nil {
			return nil, fail("sessions", ErrUnavailable, err)
		}
		if holds {
			infos = append(infos, SessionInfo{
				ID: b.ID, SignedIn: time.Unix(b.SignedIn, 0), Until: time.Unix(b.Until, 0), Browser: b.Name,
				Current: b.Key == current,
			})
		}
	}
	return infos, nil
}

// EndSession signs userID out in the browser that [Auth.Sessions] gave this ID.
// [ErrNotFound] means that no session of the user has it, or no longer. The
// other errors are those of [Auth.SignOutEverywhere]. Safe for concurrent use.
func (a *Auth) EndSession(ctx context.Context, userID, id string) error {
	if err := a.listable("end session", userID); err != nil {
		return err
	}
	switch err := a.browsers.End(ctx, userID, id); {
	case errors.Is(err, browsers.ErrNotFound):
		return fail("end session", ErrNotFound, nil)
	case err != nil:
		return fail("end session", ErrUnavailable, err)
	}
	a.emit(ctx, Event{Kind: EventLogout, Reason: "session", User: a.userHash(userID)})
	return nil
}

// SignOutEverywhere signs userID out in all browsers, and returns in how many
// the user may have been signed in. When it has returned, no sign-in counts that
// was complete before the call, and no slow request brings its session back. A
// sign-in that begins later counts; one that is under way meanwhile may do
// either. The tokens stay; see [Auth.Disconnect].
//
// After [ErrUnavailable] some sessions may have ended; call it again.
// [ErrUnsupported] means that this is connect mode, where there are no sessions,
// or that the session store does not declare, by a method "KeepsDeleted() bool",
// that deleted sessions stay deleted, as those of this module do. An empty userID
// is [ErrNotSignedIn]. Safe for concurrent use.
//
// If a failover of the store loses the list's last write and keeps the session,
// that session ends when its use is next noted, which needs an IdleTimeout; see
// [NewSessions].
func (a *Auth) SignOutEverywhere(ctx context.Context, userID string) (sessions int, err error) {
	if err := a.listable("sign out everywhere", userID); err != nil {
		return 0, err
	}
	sessions, err = a.browsers.EndAll(ctx, userID)
	if err != nil {
		return 0, fail("sign out everywhere", ErrUnavailable, err)
	}
	a.emit(ctx, Event{Kind: EventLogout, Reason: "everywhere", User: a.userHash(userID)})
	return sessions, nil
}

// listable returns an error if there can be no list of userID.
func (a *Auth) listable(op, userID string) error {
	switch {
	case a.browsers == nil:
		return fail(op, ErrUnsupported, errNotKept)
	case userID == "":
		return fail(op, ErrNotSignedIn, nil)
	}
	return nil
}

// sessionList returns the list for package session, or nil.
func (a *Auth) sessionList() session.List {
	if a.browsers == nil {
		return nil
	}
	return a.browsers
}
