package session

import (
	"context"
	"net/http"
)

type userKey struct{}

// UserID returns the user who is signed in to the request of ctx, or "". The
// user comes from the innermost session that was required, or else from the
// innermost session in ctx, or from [WithUserID].
func UserID(ctx context.Context) string {
	switch v := ctx.Value(userKey{}).(type) {
	case *Session:
		user, _ := v.UserID(ctx)
		return user
	case string:
		return v
	}
	return ""
}

// WithUserID returns a copy of ctx in which userID is signed in.
func WithUserID(ctx context.Context, userID string) context.Context {
	return context.WithValue(ctx, userKey{}, userID)
}

// User returns the user of m's session in ctx, or "". The error means that
// nobody can say at the moment. Only without such a session it believes
// [WithUserID]: nothing that was meant for another Manager counts.
func (m *Manager) User(ctx context.Context) (string, error) {
	if s := m.From(ctx); s != nil {
		return s.UserID(ctx)
	}
	user, _ := ctx.Value(userKey{}).(string)
	return user, nil
}

// Require returns r with a context in which UserID is the user of s, also
// inside a session of another Manager.
func (s *Session) Require(r *http.Request) *http.Request {
	s.required.Store(true)
	ctx := r.Context()
	if ctx.Value(userKey{}) == s {
		return r
	}
	return r.WithContext(context.WithValue(ctx, userKey{}, s))
}

// Owner returns Options.Owner of the session that UserID asks, or nil.
func Owner(ctx context.Context) any {
	if s, ok := ctx.Value(userKey{}).(*Session); ok {
		return s.manager.opts.Owner
	}
	return nil
}
