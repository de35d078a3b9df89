package mxmtest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// A client that this project has not written completes everything.
func TestThirdPartyClient(t *testing.T) {
	srv := mxmtest.NewServer()
	defer srv.Close()
	srv.AddClient("third", "party secret+&=", callback)
	srv.SignInAs(ada)
	ctx := context.Background()
	conf := oauth2.Config{
		ClientID: "third", ClientSecret: "party secret+&=", RedirectURL: callback, Scopes: []string{"profile", "email"},
		Endpoint: oauth2.Endpoint{AuthURL: srv.URL + "/oauth/authorize", TokenURL: srv.URL + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams},
	}
	verifier := oauth2.GenerateVerifier()
	browser := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := browser.Get(conf.AuthCodeURL("state +&", oauth2.S256ChallengeOption(verifier)))
	require.NoError(t, err)
	res.Body.Close()
	require.Equal(t, http.StatusSeeOther, res.StatusCode)
	back, err := res.Location()
	require.NoError(t, err)
	require.Equal(t, "state +&", back.Query().Get("state"))
	require.Equal(t, callback, (&url.URL{Scheme: back.Scheme, Host: back.Host, Path: back.Path}).String())

	first, err := conf.Exchange(ctx, back.Query().Get("code"), oauth2.VerifierOption(verifier))
	require.NoError(t, err)
	require.Equal(t, "Bearer", first.TokenType)
	require.Equal(t, "profile email", first.Extra("scope"))
	require.True(t, srv.IsLive(first.AccessToken))

	expired := *first
	expired.Expiry = expired.Expiry.Add(-2 * 3600e9)
	second, err := conf.TokenSource(ctx, &expired).Token()
	require.NoError(t, err)
	require.NotEqual(t, first.RefreshToken, second.RefreshToken)
	require.True(t, srv.IsLive(second.AccessToken))
	require.True(t, srv.IsLive(second.RefreshToken))
	require.False(t, srv.IsLive(first.AccessToken))
	require.False(t, srv.IsLive(first.RefreshToken))

	require.Equal(t, map[string]string{"sub": ada}, whoami(t, srv, conf.Client(ctx, second)))

	app := clientcredentials.Config{ClientID: "third", ClientSecret: "party secret+&=", TokenURL: srv.URL + "/oauth/token",
		Scopes: []string{"distribution"}, AuthStyle: oauth2.AuthStyleInParams}
	token, err := app.Token(ctx)
	require.NoError(t, err)
	require.Empty(t, token.RefreshToken)
	require.Equal(t, "distribution", token.Extra("scope"))
	require.Equal(t, map[string]string{"client_id": "third"}, whoami(t, srv, app.Client(ctx)))
}

func whoami(t *testing.T, srv *mxmtest.Server, c *http.Client) (answer map[string]string) {
	t.Helper()
	res, err := c.Get(srv.APIURL() + "/whoami")
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.NoError(t, json.NewDecoder(res.Body).Decode(&answer))
	return answer
}
