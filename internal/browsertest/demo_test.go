package browsertest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

func eachDemo(t *testing.T, test func(t *testing.T, demo string)) {
	for _, demo := range []string{"nethttp", "gin", "echo"} {
		t.Run(demo, func(t *testing.T) { test(t, demo) })
	}
}

// What the home page says. The fake's page lists user IDs, too, so those are no sign.
const (
	home     = "Sign in with Musixmatch"
	signedIn = "You are signed in"
)

func (b *browser) signIn(tab context.Context, app, user string) {
	b.t.Helper()
	b.in(tab, chromedp.Navigate(app), click(home), choose(user), click("Allow"))
	b.shows(tab, signedIn)
}

func TestSignInAndOut(t *testing.T) {
	eachDemo(t, func(t *testing.T, demo string) {
		srv := newServer(t)
		app, b := startDemo(t, demo, srv), openBrowser(t)
		b.do(chromedp.Navigate(app))
		b.shows(b, home)
		b.picture(demo + "-1-signed-out")

		b.do(click(home))
		b.shows(b, "Who are you?")
		b.picture(demo + "-2-consent")
		b.do(choose(ben), click("Allow"))
		b.shows(b, signedIn)
		require.Contains(t, b.text(b), ben)
		require.Contains(t, b.text(b), "The API knows the user as "+ben)
		require.Equal(t, app+"/", ask(b, b, chromedp.Location()), "no code is left in the address")
		b.picture(demo + "-3-signed-in")

		b.do(click("Sign out"))
		b.shows(b, home)
		require.NotContains(t, b.text(b), ben)

		// The back button brings nothing of the user back.
		b.do(chromedp.NavigateBack())
		require.NotContains(t, b.text(b), ben)
		b.do(chromedp.Navigate(app + "/me"))
		b.shows(b, "Who are you?")
	})
}

func TestDeny(t *testing.T) {
	eachDemo(t, func(t *testing.T, demo string) {
		app, b := startDemo(t, demo, newServer(t)), openBrowser(t)
		b.do(chromedp.Navigate(app), click(home), click("Deny"))
		b.shows(b, "Nothing was connected")
		b.picture(demo + "-4-denied")
		b.do(click(home)) // the way forward
		b.do(click("Allow"))
		b.shows(b, signedIn)
	})
}

func TestTwoTabsSignInAtOnce(t *testing.T) {
	eachDemo(t, func(t *testing.T, demo string) {
		app, b := startDemo(t, demo, newServer(t)), openBrowser(t)
		second := b.tab(b)
		for _, tab := range []context.Context{b, second} {
			b.in(tab, chromedp.Navigate(app), click(home))
			b.shows(tab, "Who are you?")
		}
		b.do(click("Allow"))
		b.shows(b, signedIn)
		b.in(second, click("Allow"))
		b.shows(second, signedIn)
		b.do(chromedp.Reload())
		b.shows(b, signedIn)
	})
}

// A page stays open longer than the session: its form leads to a page that says
// what to do, and back in.
func TestSessionExpiresInAForm(t *testing.T) {
	eachDemo(t, func(t *testing.T, demo string) {
		srv := newServer(t)
		app, b := startDemo(t, demo, srv, "MXM_IDLE_TIMEOUT=2s"), openBrowser(t)
		b.signIn(b, app, ada)
		time.Sleep(3500 * time.Millisecond)
		b.do(click("Disconnect"))
		b.shows(b, "Please sign in")
		b.picture(demo + "-5-expired")
		require.Len(t, srv.Live(ada), 1, "nothing was ended for somebody who is not signed in")
		b.do(click(home), click("Allow"))
		b.shows(b, signedIn)

		time.Sleep(3500 * time.Millisecond)
		b.do(click("Sign out"))
		b.shows(b, home)
	})
}

func TestDisconnectAndReconnect(t *testing.T) {
	eachDemo(t, func(t *testing.T, demo string) {
		srv := newServer(t)
		app, b := startDemo(t, demo, srv), openBrowser(t)
		b.signIn(b, app, ada)
		srv.Revoke(ada)
		b.do(chromedp.Reload())
		b.shows(b, "The connection to Musixmatch has ended.")
		b.picture(demo + "-6-reconnect")
		b.do(click("Connect again"), click("Allow"))
		b.shows(b, "Musixmatch confirms the connection.")
		b.do(click("Disconnect"))
		b.shows(b, home)
	})
}

// The cookies as the browser sees them, on http and behind a proxy that ends TLS.
func TestCookies(t *testing.T) {
	eachDemo(t, func(t *testing.T, demo string) {
		for _, secure := range []bool{false, true} {
			srv := newServer(t)
			var app string
			sessionCookie, prefix := "mxm_session", ""
			if secure {
				sessionCookie, prefix = "__Host-Http-mxm_session", "__Host-"
				proxy := &httputil.ReverseProxy{}
				front := httptest.NewTLSServer(proxy)
				t.Cleanup(front.Close)
				app = front.URL
				back, err := url.Parse(startDemo(t, demo, srv, "MXM_REDIRECT_URL="+app+mxmtest.CallbackPath))
				require.NoError(t, err)
				proxy.Rewrite = func(r *httputil.ProxyRequest) { r.SetURL(back) }
			} else {
				app = startDemo(t, demo, srv)
			}
			b := openBrowser(t)
			b.do(chromedp.Navigate(app), click(home))
			b.shows(b, "Who are you?")
			flow := b.cookies(prefix + "mxm_flow")
			require.Len(t, flow, 1)
			require.Less(t, time.Until(time.Unix(int64(flow[0].Expires), 0)), 11*time.Minute)
			b.do(click("Allow"))
			b.shows(b, signedIn)
			require.Empty(t, b.cookies(prefix+"mxm_flow"), "it has done its work")
			session := b.cookies(sessionCookie)
			require.Len(t, session, 1)
			for _, c := range append(flow, session...) {
				require.True(t, c.HTTPOnly, c.Name)
				require.Equal(t, secure, c.Secure, c.Name)
				require.Equal(t, network.CookieSameSiteLax, c.SameSite, c.Name)
				require.Equal(t, "/", c.Path, c.Name)
				require.Equal(t, "127.0.0.1", c.Domain, "host only")
			}
			require.InDelta(t, 24*time.Hour, time.Until(time.Unix(int64(session[0].Expires), 0)), float64(time.Hour))
			require.Empty(t, ask(b, b, chromedp.Evaluate[string]("document.cookie")))

			b.do(click("Sign out"))
			b.shows(b, home)
			require.Empty(t, b.cookies(sessionCookie))
			require.Empty(t, b.cookies(prefix+"mxm_"))
		}
	})
}

// Any site can open logins in popups, all at once. A proxy with a usual limit for
// headers lets the browser's requests pass nevertheless.
func TestCookieBomb(t *testing.T) {
	eachDemo(t, func(t *testing.T, demo string) {
		proxy := &httputil.ReverseProxy{}
		front := httptest.NewUnstartedServer(proxy)
		front.Config.MaxHeaderBytes = 4 << 10 // net/http adds 4 KiB
		front.Start()
		t.Cleanup(front.Close)
		back, err := url.Parse(startDemo(t, demo, newServer(t), "MXM_REDIRECT_URL="+front.URL+mxmtest.CallbackPath))
		require.NoError(t, err)
		proxy.Rewrite = func(r *httputil.ProxyRequest) { r.SetURL(back) }
		attacker := httptest.NewServer(http.NotFoundHandler())
		t.Cleanup(attacker.Close)

		b := openBrowser(t)
		for _, size := range []int{1000, 2000} {
			logins := front.URL + "/auth/musixmatch/login?return_to=/" + strings.Repeat("x", size)
			b.do(chromedp.Navigate(strings.Replace(attacker.URL, "127.0.0.1", "localhost", 1)))
			ask(b, b, chromedp.Evaluate[any]("for (let i = 0; i < 5; i++) window.open('"+logins+"'); null"))
			require.Eventually(t, func() bool { return len(b.cookies("mxm_flow")) >= 5 }, 20*time.Second, 20*time.Millisecond)
			b.do(chromedp.Navigate(front.URL))
			b.shows(b, home)
		}
		b.signIn(b, front.URL, ada)
	})
}

func (b *browser) cookies(prefix string) (found []*network.Cookie) {
	b.t.Helper()
	b.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		all, err := cdp.Call(ctx, t, storage.GetCookies, storage.GetCookiesParams{})
		for _, c := range all.Cookies {
			if strings.HasPrefix(c.Name, prefix) {
				found = append(found, c)
			}
		}
		return err
	}))
	return found
}
