package main

import (
	"context"
	"time"

	"golang.org/x/oauth2"
)

// cachedToken is what an API call pays for a token that needs no refresh.
func cachedToken() group {
	auth := newAuth(nil)
	signIn(auth)
	ctx := context.Background()
	kept := auth.TokenSource(ctx, user)
	peer := oauth2.ReuseTokenSource(&oauth2.Token{AccessToken: "a", Expiry: time.Now().Add(time.Hour)}, nil)
	token := func(name string, ours bool, source func() oauth2.TokenSource) contender {
		return contender{name: name, ours: ours, prepare: repeated(func() {
			t, err := source().Token()
			check(err == nil && t.AccessToken != "", "%s: %v", name, err)
		})}
	}
	return group{title: "cached token", contenders: []contender{
		token("mxmconnect", true, func() oauth2.TokenSource { return kept }),
		token("mxmconnect, a source for each call", false, func() oauth2.TokenSource { return auth.TokenSource(ctx, user) }),
		token("x/oauth2 ReuseTokenSource", false, func() oauth2.TokenSource { return peer }),
	}}
}
