package core

import (
	"context"
	"errors"
)

var errUnsure = errors.New("token-metadata gave no answer")

// Verify asks Musixmatch whether the user's grant still lives: nil if it does,
// [ErrReconnect] if it is lost, [ErrUnavailable] if nobody can say at the
// moment. A token that a refresh has killed is replaced, and not mistaken for a
// grant that was revoked. It costs one call to token-metadata at least, and
// waits as [Auth.TokenSource] does. Safe for concurrent use.
func (a *Auth) Verify(ctx context.Context, userID string) error {
	if userID == "" {
		return fail("verify", ErrNotSignedIn, nil)
	}
	res := a.refresher.token(ctx, userID, "")
	for range 3 {
		if res.err != nil {
			return res.err
		}
		asked := res.served.token.AccessToken
		in, err := a.refresher.introspect(ctx, asked)
		if err != nil {
			return fail("verify", ErrUnavailable, err)
		}
		if in.Active && in.Sub == userID {
			return nil
		}
		if in.Active {
			a.refresher.endChanged(ctx, userID, asked)
			return fail("verify", ErrReconnect, errSubChanged)
		}
		res = a.refresher.token(ctx, userID, asked)
		switch res.verdict {
		case active:
			return nil
		case noAnswer:
			return fail("verify", ErrUnavailable, errUnsure)
		}
	}
	return fail("verify", ErrUnavailable, errUnsure)
}
