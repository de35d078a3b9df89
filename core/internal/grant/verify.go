package grant

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
func (m *Manager) Verify(ctx context.Context, sub string) error {
	res := m.token(ctx, sub, "")
	for range 3 {
		if res.err != nil {
			return res.err
		}
		asked := res.served.token.AccessToken
		in, err := m.introspect(ctx, asked)
		if err != nil {
			return unavailable(err)
		}
		if in.Active && in.Sub == sub {
			if e := m.entries.find(sub); e != nil {
				e.active.Store(res.served.generation)
			}
			return nil
		}
		if in.Active {
			m.endChanged(ctx, sub, asked)
			return &Failure{Reconnect, errSubChanged}
		}
		res = m.token(ctx, sub, asked)
		switch res.verdict {
		case active:
			return nil
		case noAnswer:
			return unavailable(errUnsure)
		}
	}
	return unavailable(errUnsure)
}
