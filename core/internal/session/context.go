package session

import "context"

type userKey struct{}

// UserID returns the user who is signed in to the request of ctx, or "". The
// user comes from the innermost session in ctx, or from [WithUserID].
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

// Owner returns Options.Owner of the innermost session in ctx, or nil.
func Owner(ctx context.Context) any {
	if s, ok := ctx.Value(userKey{}).(*Session); ok {
		return s.manager.opts.Owner
	}
	return nil
}
