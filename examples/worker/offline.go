package main

import (
	"context"
	"fmt"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// inventUsers invents users who connected long ago, and imports their refresh
// tokens, as from code that kept them by hand. Some access tokens have expired
// since, and one user has withdrawn consent.
func inventUsers(ctx context.Context, auth *core.Auth, fake *mxmtest.Server) (users []string, err error) {
	for i := range 12 {
		token := fake.Issue(fmt.Sprintf("mxm:1%020d", i+1)).RefreshToken
		user, err := auth.Import(ctx, token)
		if err != nil {
			return nil, err
		}
		if i%3 == 0 {
			fake.ExpireAccessTokens(user)
		}
		users = append(users, user)
	}
	fake.Revoke(users[7])
	return users, nil
}
