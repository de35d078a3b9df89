package examples_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// connect clicks through from the connect button to the end.
func connect(t *testing.T, c *http.Client, app *process) answer {
	t.Helper()
	res := post(t, c, app.URL+"/auth/musixmatch/connect?return_to=/")
	require.Equal(t, 303, res.StatusCode, res.body)
	res = get(t, c, res.Header.Get("Location"))
	require.Equal(t, 303, res.StatusCode, res.body)
	return navigate(t, c, res.Header.Get("Location"))
}

func TestLink(t *testing.T) {
	srv := newServer(t)
	app := startDemo(t, "link", srv)
	alice, bob := browser(t), browser(t)

	res := navigate(t, alice, app.URL+"/")
	require.Contains(t, res.body, "Be alice")
	require.Equal(t, "not_signed_in", post(t, alice, app.URL+"/auth/musixmatch/connect").code(), "only for somebody")
	require.Equal(t, 400, post(t, alice, app.URL+"/sign-in", "user", "mallory").StatusCode)

	require.Equal(t, 303, post(t, alice, app.URL+"/sign-in", "user", "alice").StatusCode)
	require.Equal(t, 303, post(t, bob, app.URL+"/sign-in", "user", "bob").StatusCode)
	res = navigate(t, alice, app.URL+"/")
	require.Contains(t, res.body, "not connected to Musixmatch yet")
	require.Contains(t, res.Header.Get("Content-Security-Policy"), "form-action 'self' "+srv.URL+";", "or the browser blocks the redirect")
	require.Equal(t, "not_connected", get(t, alice, app.URL+"/artist").code())
	require.Equal(t, 405, get(t, alice, app.URL+"/auth/musixmatch/connect").StatusCode, "not by a link")

	res = connect(t, alice, app)
	require.Equal(t, 303, res.StatusCode, res.body)
	require.Equal(t, "/", res.Header.Get("Location"))
	require.Contains(t, navigate(t, alice, app.URL+"/").body, ada)
	require.Contains(t, get(t, alice, app.URL+"/artist").body, "alice acts at Musixmatch as "+ada)

	// The Musixmatch account belongs to alice.
	res = connect(t, bob, app)
	require.Equal(t, 409, res.StatusCode)
	require.Contains(t, res.body, "<code>already_connected</code>")
	require.Contains(t, res.body, "connected to another account here")
	require.NotContains(t, navigate(t, bob, app.URL+"/").body, ada)
	require.Equal(t, 200, get(t, alice, app.URL+"/artist").StatusCode, "and stays hers")

	// Another account does not silently replace the first one.
	srv.SignInAs(ben)
	require.Contains(t, connect(t, alice, app).body, "Disconnect that first.")
	require.Contains(t, navigate(t, alice, app.URL+"/").body, ada)
	require.Equal(t, 303, connect(t, bob, app).StatusCode)

	list := get(t, alice, app.URL+"/connections").body
	require.Contains(t, list, "alice\t"+ada+"\tlive\n")
	require.Contains(t, list, "bob\t"+ben+"\tlive\n")

	// A lost connection shows before anybody clicks on anything.
	srv.Revoke(ben)
	require.Equal(t, "reconnect", get(t, bob, app.URL+"/artist").code(), "so the application learns of it")
	require.Contains(t, navigate(t, bob, app.URL+"/").body, "Connect again")
	require.Contains(t, get(t, alice, app.URL+"/connections").body, "bob\t"+ben+"\treconnect\n")
	require.Equal(t, 303, connect(t, bob, app).StatusCode)
	require.NotContains(t, navigate(t, bob, app.URL+"/").body, "Connect again")

	require.Equal(t, 303, post(t, alice, app.URL+"/auth/musixmatch/disconnect").StatusCode)
	res = navigate(t, alice, app.URL+"/")
	require.Contains(t, res.body, "Hello, alice", "she stays signed in")
	require.Contains(t, res.body, "not connected to Musixmatch yet")
	require.NotContains(t, get(t, bob, app.URL+"/connections").body, ada)
	require.Equal(t, "not_connected", get(t, alice, app.URL+"/artist").code())
	require.Contains(t, get(t, bob, app.URL+"/artist").body, ben)

	require.Equal(t, 303, post(t, bob, app.URL+"/sign-out").StatusCode)
	require.Equal(t, "not_signed_in", get(t, bob, app.URL+"/artist").code())
	require.Equal(t, "not_signed_in", post(t, bob, app.URL+"/auth/musixmatch/disconnect").code())
	require.Zero(t, app.stop())

	offline := start(t, "link")
	require.Contains(t, navigate(t, browser(t), offline.URL+"/").body, "Be alice")
	refused(t, "link", "MXM_CLIENT_SECRET", "MXM_CLIENT_ID=x")
}

// On https the application's own cookie is one that no other host can set.
func TestOwnCookieOnHTTPS(t *testing.T) {
	for name, path := range map[string]string{"link": "/sign-in", "byosession": "/cart"} {
		app := start(t, name, "MXM_REDIRECT_URL=https://app.example/auth/musixmatch/callback")
		eventually(t, "it listens", func() bool { return listening.MatchString(app.stderr.String()) })
		address := listening.FindStringSubmatch(app.stderr.String())[1]
		client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		res, err := client.PostForm("http://"+address+path, url.Values{"user": {"alice"}})
		require.NoError(t, err)
		res.Body.Close()
		require.Equal(t, 303, res.StatusCode)
		require.Len(t, res.Cookies(), 1)
		c := res.Cookies()[0]
		require.True(t, strings.HasPrefix(c.Name, "__Host-"), "%s: %s", name, c.Name)
		require.True(t, c.Secure && c.HttpOnly && c.Path == "/" && c.Domain == "", "%s: %s", name, c)
	}
}

func TestOwnSession(t *testing.T) {
	srv := newServer(t)
	app, c := startDemo(t, "byosession", srv), browser(t)
	require.Equal(t, 303, post(t, c, app.URL+"/cart").StatusCode)
	require.Equal(t, 303, post(t, c, app.URL+"/cart").StatusCode)
	require.Equal(t, 401, get(t, c, app.URL+"/orders").StatusCode)
	signIn(t, c, app.URL)
	require.Equal(t, "2 in the cart of "+ada+"\n", get(t, c, app.URL+"/orders").body, "the cart survives the sign-in")
	require.Contains(t, navigate(t, c, app.URL+"/").body, ada)
	require.Equal(t, 303, post(t, c, app.URL+"/cart").StatusCode)
	require.Contains(t, get(t, c, app.URL+"/orders").body, "3 in the cart")
	res := post(t, c, app.URL+"/auth/musixmatch/logout")
	require.Equal(t, 303, res.StatusCode)
	require.Equal(t, 1, strings.Count(strings.Join(res.Header["Set-Cookie"], "\n"), "shop_session="), "one Set-Cookie")
	require.Equal(t, 401, get(t, c, app.URL+"/orders").StatusCode)
	require.Contains(t, navigate(t, c, app.URL+"/").body, "<dd>0</dd>")
	require.Zero(t, app.stop())

	require.Contains(t, navigate(t, browser(t), start(t, "byosession").URL+"/").body, "Sign in with Musixmatch")
}
