package core_test

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/nethttpmw"
)

// site is what an instance serves: the routes, and a page that says who is
// signed in.
func (i *instance) site() http.Handler {
	mux := http.NewServeMux()
	nethttpmw.Mount(mux, i.Auth)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, core.UserID(r.Context())) })
	return nethttpmw.Middleware(i.Auth)(mux)
}

// visitor is a browser. Any instance can answer it.
type visitor struct {
	w    *world
	jar  *cookiejar.Jar
	site http.Handler
}

func (w *world) visitor() *visitor {
	jar, err := cookiejar.New(nil)
	require.NoError(w.t, err)
	return &visitor{w: w, jar: jar}
}

// RoundTrip implements [http.RoundTripper].
func (v *visitor) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Port() == "" {
		transport := &http.Transport{DialContext: v.w.net.dial, DisableKeepAlives: true}
		return transport.RoundTrip(r)
	}
	in := r.Clone(r.Context())
	in.RequestURI = r.URL.RequestURI()
	answer := httptest.NewRecorder()
	v.site.ServeHTTP(answer, in)
	return answer.Result(), nil
}

// open asks i for a page, and follows no redirect.
func (v *visitor) open(i *instance, target string) (resp *http.Response, body string) {
	v.w.t.Helper()
	v.site = i.site()
	client := http.Client{Jar: v.jar, Transport: v, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	r, err := http.NewRequest(http.MethodGet, target, nil)
	require.NoError(v.w.t, err)
	r.Header.Set("Accept", "text/html")
	resp, err = client.Do(r)
	require.NoError(v.w.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(v.w.t, err)
	return resp, string(text)
}

const app = "http://127.0.0.1:8080"

// begin begins a sign-in at i, and returns where Musixmatch sends the browser.
func (v *visitor) begin(i *instance, returnTo string) (callback string) {
	v.w.t.Helper()
	to, _ := v.open(i, app+"/auth/musixmatch/login?return_to="+url.QueryEscape(returnTo))
	back, _ := v.open(i, to.Header.Get("Location"))
	require.True(v.w.t, strings.HasPrefix(back.Header.Get("Location"), app), back.Header.Get("Location"))
	return back.Header.Get("Location")
}

// finish ends a sign-in at i.
func (v *visitor) finish(i *instance, callback string) (status int, location string) {
	v.w.t.Helper()
	resp, _ := v.open(i, callback)
	return resp.StatusCode, resp.Header.Get("Location")
}

func (v *visitor) user(i *instance) string {
	v.w.t.Helper()
	resp, user := v.open(i, app+"/")
	require.Equal(v.w.t, http.StatusOK, resp.StatusCode)
	return user
}

// longPath is kept in a cookie of its own.
var longPath = "/" + strings.Repeat("a", 900)

// What is sealed is the claim of a sweep, a grant, a user's list of browsers, and
// two cookies of a sign-in.
func TestNewKeyInFront(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.srv.SignInAs(alice)
		before := w.start()
		both := w.start(func(c *core.Config) { c.Keys = [][]byte{keyLike(1), testKeys[0]} })
		alone := w.start(func(c *core.Config) { c.Keys = [][]byte{keyLike(1)} })
		w.sweepOnce(before, core.Maintenance{})
		desk, phone, tablet := w.visitor(), w.visitor(), w.visitor()
		status, _ := desk.finish(before, desk.begin(before, "/"))
		require.Equal(t, http.StatusSeeOther, status)
		short, long := phone.begin(before, "/short"), tablet.begin(before, longPath)

		status, location := phone.finish(both, short)
		require.Equal(t, http.StatusSeeOther, status)
		require.Equal(t, "/short", location)
		status, location = tablet.finish(both, long)
		require.Equal(t, http.StatusSeeOther, status)
		require.Equal(t, longPath, location)
		listed, err := both.Sessions(t.Context(), alice)
		require.NoError(t, err)
		require.Len(t, listed, 3)

		old := both.token(t)
		untilDue()
		require.NotEqual(t, old, both.token(t))
		require.Equal(t, both.token(t), alone.token(t), "the refresh has sealed it anew")

		n, err := both.SignOutEverywhere(t.Context(), alice)
		require.NoError(t, err)
		require.Equal(t, 3, n)
		for _, v := range []*visitor{desk, phone, tablet} {
			require.Empty(t, v.user(both))
		}
		status, _ = desk.finish(alone, desk.begin(alone, "/"))
		require.Equal(t, http.StatusSeeOther, status)
		require.Equal(t, alice, desk.user(alone), "the list has been sealed anew")

		s := w.sweepOnce(both, core.Maintenance{})
		require.Equal(t, 1, s.Live)
		require.Empty(t, s.OlderKeys)
		s = w.sweepOnce(alone, core.Maintenance{})
		require.Equal(t, 1, s.Live)
		require.Empty(t, s.UnknownKeys)
	})
}

// Removing a key too soon loses nothing, and locks nobody out for long.
func TestOldKeyRemovedTooSoon(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.srv.SignInAs(alice)
		before := w.start()
		w.sweepOnce(before, core.Maintenance{})
		desk, phone := w.visitor(), w.visitor()
		status, _ := desk.finish(before, desk.begin(before, "/"))
		require.Equal(t, http.StatusSeeOther, status)
		signedIn := time.Now()
		begun, grant := phone.begin(before, "/"), w.save()

		alone := w.start(func(c *core.Config) { c.Keys = [][]byte{keyLike(1)} })
		w.srv.ResetRequests()
		status, _ = phone.finish(alone, begun)
		require.Equal(t, http.StatusBadRequest, status, "a sign-in that this browser did not begin")
		require.ErrorIs(t, alone.tokenErr(t, time.Minute), core.ErrUnavailable)
		require.Equal(t, grant, w.save())
		for _, r := range w.srv.Requests() {
			require.NotEqual(t, mxmtest.Token, r.Endpoint)
		}

		require.Equal(t, alice, desk.user(alone), "a session is not sealed")
		_, err := alone.SignOutEverywhere(t.Context(), alice)
		require.ErrorIs(t, err, core.ErrUnavailable)
		_, err = alone.Sessions(t.Context(), alice)
		require.ErrorIs(t, err, core.ErrUnavailable)
		status, _ = phone.finish(alone, phone.begin(alone, "/"))
		require.Equal(t, http.StatusServiceUnavailable, status, "it cannot be listed")
		require.Empty(t, phone.user(alone))
		require.True(t, w.srv.IsLive(alone.token(t)), "but it has replaced the grant")

		time.Sleep(time.Until(signedIn.Add(w.mgr.Lifetime + time.Hour + time.Second)))
		status, _ = phone.finish(alone, phone.begin(alone, "/"))
		require.Equal(t, http.StatusSeeOther, status)
		require.Equal(t, alice, phone.user(alone))
		n, err := alone.SignOutEverywhere(context.Background(), alice)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		require.Equal(t, 1, w.sweepOnce(alone, core.Maintenance{}).Live, "a claim that does not open is replaced")
	})
}
