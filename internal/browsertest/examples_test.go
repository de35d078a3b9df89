package browsertest

import (
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// The connect form is answered by a redirect to another origin, which a browser
// only follows because the page's policy names it.
func TestLink(t *testing.T) {
	srv := newServer(t)
	app, b := startDemo(t, "link", srv), openBrowser(t)
	b.do(chromedp.Navigate(app))
	b.shows(b, "Who are you here?")
	b.picture("link-1-accounts")
	b.do(click("Be alice"))
	b.shows(b, "not connected to Musixmatch yet")
	b.picture("link-2-not-connected")
	b.do(click("Connect"), choose(ben), click("Allow"))
	b.shows(b, "Your account is connected to Musixmatch.")
	require.Contains(t, b.text(b), ben)
	b.picture("link-3-connected")

	b.do(click("Sign out"), click("Be bob"))
	b.shows(b, "Hello, bob")
	b.do(click("Connect"), choose(ben), click("Allow"))
	b.shows(b, "already_connected")
	b.picture("link-4-conflict")
	b.do(click("Go to the start page"))
	b.shows(b, "Hello, bob")

	// Signed out of the application in another tab, while at Musixmatch.
	b.do(click("Connect"))
	b.shows(b, "Who are you?")
	other := b.tab(b)
	b.in(other, chromedp.Navigate(app), click("Sign out"))
	b.shows(other, "Who are you here?")
	b.do(click("Allow"))
	b.shows(b, "user_changed")
}

func TestOwnSession(t *testing.T) {
	app, b := startDemo(t, "byosession", newServer(t)), openBrowser(t)
	b.do(chromedp.Navigate(app), click("Add one"))
	b.shows(b, "In the cart\n1")
	b.do(click("Sign in with Musixmatch"), click("Allow"))
	b.shows(b, signedIn)
	require.Contains(t, b.text(b), "In the cart\n1")
	b.picture("byosession")
	b.do(click("Sign out"))
	b.shows(b, "A shop with a cart")
}
