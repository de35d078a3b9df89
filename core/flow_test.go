package core

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/seal"
	"github.com/stretchr/testify/require"
)

// browse is a request with the cookies that earlier answers left in a browser.
type browser map[string]*http.Cookie

func (b browser) request(target string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	for _, c := range b {
		r.AddCookie(c)
	}
	return r
}

func (b browser) keep(w *httptest.ResponseRecorder) {
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b, c.Name)
		} else {
			b[c.Name] = c
		}
	}
}

func startTestFlow(a *Auth, b browser) (state string) {
	w := httptest.NewRecorder()
	state, _ = a.startFlow(w, b.request("/"), signInFlow, "", "/")
	b.keep(w)
	return state
}

func TestFlowCookie(t *testing.T) {
	a := newTestAuth(t, nil)
	b := browser{}
	state := startTestFlow(a, b)
	require.Len(t, b, 1)
	for name, c := range b {
		require.Regexp(t, `^__Host-mxm_flow_[0-9a-f]{16}$`, name)
		require.True(t, c.Secure)
		require.True(t, c.HttpOnly)
		require.Equal(t, "/", c.Path)
		require.Empty(t, c.Domain)
		require.Equal(t, http.SameSiteLaxMode, c.SameSite)
		require.Equal(t, 600, c.MaxAge)
	}
	f, err := a.openFlow(b.request("/"), state)
	require.NoError(t, err)
	require.Len(t, f.Verifier, 43)

	_, err = a.openFlow(browser{}.request("/"), state)
	require.Error(t, err, "another browser")
	_, err = a.openFlow(b.request("/"), seal.RandomString())
	require.Error(t, err, "another state")
	other := newTestAuth(t, nil)
	_, err = other.openFlow(b.request("/"), state)
	require.Error(t, err, "another key")
	for what, change := range map[string]func(*Config){
		"another client":               func(c *Config) { c.ClientID = "another" },
		"another redirect URL":         func(c *Config) { c.RedirectURL = "https://other.example/auth/musixmatch/callback" },
		"another authorization server": func(c *Config) { c.BaseURL = "https://another.example" },
	} {
		other := newTestAuth(t, change)
		other.keys = a.keys
		_, err = other.openFlow(b.request("/"), state)
		require.ErrorIs(t, err, seal.ErrUnsealable, what)
	}
	twice := b.request("/")
	twice.AddCookie(&http.Cookie{Name: a.flowCookieName(state), Value: "x"})
	_, err = a.openFlow(twice, state)
	require.Error(t, err, "two cookies of one name")
}

func TestFlowCookieIsBoundToItsName(t *testing.T) {
	a := newTestAuth(t, nil)
	b := browser{}
	first, second := startTestFlow(a, b), startTestFlow(a, b)
	one, two := b[a.flowCookieName(first)], b[a.flowCookieName(second)]
	swapped := browser{one.Name: {Name: one.Name, Value: two.Value}}
	_, err := a.openFlow(swapped.request("/"), first)
	require.ErrorIs(t, err, seal.ErrUnsealable)
}

func TestFlowsPerBrowser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newTestAuth(t, nil)
		b := browser{a.flowCookieName("x"): {Name: a.flowCookieName("x"), Value: "unreadable"}}
		var states []string
		for range maxFlows {
			states = append(states, startTestFlow(a, b))
			time.Sleep(time.Second)
		}
		require.Len(t, b, maxFlows, "the unreadable one went first")
		for _, state := range states {
			_, err := a.openFlow(b.request("/"), state)
			require.NoError(t, err, "all tabs can complete")
		}
		startTestFlow(a, b)
		require.Len(t, b, maxFlows)
		_, err := a.openFlow(b.request("/"), states[0])
		require.Error(t, err, "the oldest is gone")
		_, err = a.openFlow(b.request("/"), states[1])
		require.NoError(t, err)

		time.Sleep(flowLife)
		_, err = a.openFlow(b.request("/"), states[4])
		require.Error(t, err, "ten minutes are over")
	})
}

func TestFlowCookieSize(t *testing.T) {
	a := newTestAuth(t, nil)
	for _, char := range []string{"a", "&", `"`} { // JSON makes six bytes of one, and two
		w := httptest.NewRecorder()
		returnTo := a.returnTo("/?" + strings.Repeat(char, maxReturnTo-2))
		require.Len(t, returnTo, maxReturnTo)
		a.startFlow(w, browser{}.request("/"), connectFlow, strings.Repeat("u", 4<<10), returnTo)
		require.Less(t, len(w.Header().Get("Set-Cookie")), 3584, char)
	}
}

// No cookie but one that was made for this name and state opens.
func FuzzFlowCookie(f *testing.F) {
	f.Add("", "")
	f.Add("AQ", "state")
	f.Fuzz(func(t *testing.T, value, state string) {
		a := fuzzAuth
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Cookie", a.flowCookieName(state)+"="+value)
		_, err := a.openFlow(r, state)
		require.Error(t, err)
		raw, _ := base64.RawURLEncoding.DecodeString(value)
		_, err = a.keys.Open(flowPurpose, a.flowPlace(a.flowCookieName(state)), raw)
		require.ErrorIs(t, err, seal.ErrUnsealable)
	})
}

var fuzzAuth = func() *Auth {
	a, err := New(validConfig())
	if err != nil {
		panic(err)
	}
	return a
}()
