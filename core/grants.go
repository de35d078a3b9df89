package core

import (
	"context"
	"errors"
	"iter"
	"strings"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/grant"
)

// GrantStatus is whether a user is connected to Musixmatch.
type GrantStatus string

// The statuses of grants.
const (
	GrantLive         GrantStatus = "live"
	GrantReconnect    GrantStatus = "reconnect"    // lost: only a new sign-in brings it back
	GrantDisconnected GrantStatus = "disconnected" // there is none: never, or not any more
)

// GrantInfo is what is known of a user's grant without asking Musixmatch. The
// times are zero where there is no grant.
type GrantInfo struct {
	UserID      string
	Status      GrantStatus
	Reason      string // why it is lost, as in [Event]
	Scopes      []string
	ConnectedAt time.Time // when the user signed in
	RefreshedAt time.Time // when the newest tokens were issued
	Since       time.Time // when Status became what it is
}

// Grant returns the status of the user's grant: one read of the store, and no
// call to Musixmatch. A loss is known once a refresh has met it; [Auth.Verify]
// asks. A user without a grant is no error. An empty userID is [ErrNotSignedIn];
// [ErrUnavailable] means that the store failed, or that no key opens the record.
// Safe for concurrent use.
func (a *Auth) Grant(ctx context.Context, userID string) (GrantInfo, error) {
	if userID == "" {
		return GrantInfo{}, fail("grant", ErrNotSignedIn, nil)
	}
	info, err := a.grants.Info(ctx, userID)
	if err != nil {
		return GrantInfo{}, grantError("grant", err)
	}
	return grantInfo(info), nil
}

// Grants returns the grants of this client at this authorization server that are
// alive or lost, in no order. It reads each record and does not call Musixmatch.
// Meanwhile a grant may come twice, and one that was added or ended may be missing.
//
// A record that no key opens yields an error, and the next grant follows. An
// error of the store ends the sequence, as does a store that is no [GrantLister]:
// that error is [ErrUnsupported]. Safe for concurrent use.
func (a *Auth) Grants(ctx context.Context) iter.Seq2[GrantInfo, error] {
	return func(yield func(GrantInfo, error) bool) {
		for info, err := range a.grants.All(ctx) {
			switch {
			case errors.Is(err, grant.ErrCannotList):
				yield(GrantInfo{}, fail("grants", ErrUnsupported, errors.Unwrap(err)))
				return
			case err != nil:
				if !yield(GrantInfo{}, grantError("grants", err)) {
					return
				}
			default:
				if !yield(grantInfo(info), nil) {
					return
				}
			}
		}
	}
}

func grantInfo(i grant.Info) GrantInfo {
	info := GrantInfo{
		UserID: i.Sub, Status: GrantDisconnected, Reason: i.Reason, Scopes: strings.Fields(i.Scope),
		ConnectedAt: i.Connected, RefreshedAt: i.Issued, Since: i.Since,
	}
	switch {
	case i.Live:
		info.Status = GrantLive
	case i.Lost:
		info.Status = GrantReconnect
	}
	return info
}

// Import takes over a user whose refresh token other code has kept. That code
// must not use the token any more. Import refreshes first, which proves that the
// token was issued to this client. Then it asks whose the new tokens are, and
// stores them as a login of that user does.
//
// Nothing is lost on the way: until the user is known, the token is kept as a
// grant of its own. After an error or a crash call Import again with the same
// token, on any instance; it continues where it was. A second import of the
// same token within 30 days returns the same user ID and changes nothing.
//
// [ErrReconnect] means that the token is not good for a refresh, and
// [ErrUnavailable] that a later call may succeed. [ErrBadRequest] means that
// refreshToken is malformed. Import waits as long as ctx, or 10 seconds if ctx
// has no deadline; a lost answer takes minutes to resolve. Safe for concurrent use.
func (a *Auth) Import(ctx context.Context, refreshToken string) (userID string, err error) {
	userID, err = a.grants.Import(ctx, refreshToken)
	if err != nil {
		return "", grantError("import", err)
	}
	return userID, nil
}

// Verify asks Musixmatch whether the user's grant is alive. It returns nil if it
// is, [ErrReconnect] if it is lost, [ErrUnavailable] if nobody can say at the
// moment, and [ErrNotSignedIn] if userID is empty. A token that a refresh has
// ended is replaced, and not mistaken for a revoked grant. Verify makes at least
// one call to token-metadata, and waits as [Auth.TokenSource] does. Safe for
// concurrent use.
func (a *Auth) Verify(ctx context.Context, userID string) error {
	if userID == "" {
		return fail("verify", ErrNotSignedIn, nil)
	}
	if err := a.grants.Verify(ctx, userID); err != nil {
		return grantError("verify", err)
	}
	return nil
}
