package core

import "context"

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
