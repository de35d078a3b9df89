package mxmtest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

func TestConfig(t *testing.T) {
	f := start(t)
	c := f.Config("http://localhost:8080")
	require.Equal(t, "http://localhost:8080/auth/musixmatch/callback", c.RedirectURL)
	require.Equal(t, mxmtest.DefaultClientID, c.ClientID)
	require.Equal(t, mxmtest.DefaultClientSecret, c.ClientSecret)
	require.Equal(t, f.URL, c.BaseURL)
	require.Equal(t, []string{f.APIURL()}, c.APIOrigins)

	f.SignInAs(ada)
	query := authorizeQuery()
	query.Set("redirect_uri", c.RedirectURL)
	a := f.get("/oauth/authorize?" + query.Encode())
	require.Contains(t, a.header.Get("Location"), c.RedirectURL+"?", "it is registered")

	f.AddClient(mxmtest.DefaultClientID, "another secret")
	require.Equal(t, "another secret", f.Config("https://app.example").ClientSecret)
}
