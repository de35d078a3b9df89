package core

import "context"

// Import takes over a user whose refresh token was kept by other code, which
// must not use it any more. It refreshes first, which proves that the token was
// issued to this client, asks whose the new tokens are, and stores them as a
// login of that user would be.
//
// Until the user is known the token is kept as a grant of its own, so nothing
// is lost on the way: after an error or a crash call Import again with the same
// token, on any instance, and it goes on where it was. A second import of the
// same token within 30 days returns the same user ID and changes nothing.
//
// [ErrReconnect] means that the token is not, or not any more, good for a
// refresh; [ErrUnavailable] to try again later. It waits as long as ctx, or 10
// seconds if ctx has no deadline; a lost answer takes minutes to resolve.
// Safe for concurrent use.
func (a *Auth) Import(ctx context.Context, refreshToken string) (userID string, err error) {
	userID, err = a.grants.Import(ctx, refreshToken)
	if err != nil {
		return "", grantError("import", err)
	}
	return userID, nil
}

// Verify asks Musixmatch whether the user's grant still lives: nil if it does,
// [ErrReconnect] if it is lost, [ErrUnavailable] if nobody can say at the
// moment. A token that a refresh has killed is replaced, and not mistaken for a
// grant that was revoked. It costs one call to token-metadata at least, and
// waits as [Auth.TokenSource] does. Safe for concurrent use.
func (a *Auth) Verify(ctx context.Context, userID string) error {
	if userID == "" {
		return fail("verify", ErrNotSignedIn, nil)
	}
	if err := a.grants.Verify(ctx, userID); err != nil {
		return grantError("verify", err)
	}
	return nil
}
