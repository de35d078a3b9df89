package core

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
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
	state, _ = a.startFlow(w, b.request("/"), "", "/")
	b.keep(w)
	return state
}

func TestFlowCookie(t *testing.T) {
	a := newTestAuth(t, nil)
	b := browser{}
	state := startTestFlow(a, b)
	require.Len(t, b, 1)
	for name, c := range b {
		require.Regexp(t, `^__Host-mxm_flow_[0-9a-f]{29}$`, name)
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
	twice.AddCookie(&http.Cookie{Name: a.cookieName(flowCookie + flowTime(time.Now().Add(-time.Second)) + flowID(state)), Value: "x"})
	_, err = a.openFlow(twice, state)
	require.Error(t, err, "two cookies for one state")
}

// nameOf returns the name of the cookie of the attempt that state names.
func (b browser) nameOf(t *testing.T, state string) string {
	for name := range b {
		if strings.HasSuffix(name, flowID(state)) {
			return name
		}
	}
	require.Fail(t, "no such attempt")
	return ""
}

func TestFlowCookieIsBoundToItsName(t *testing.T) {
	a := newTestAuth(t, nil)
	b := browser{}
	first, second := startTestFlow(a, b), startTestFlow(a, b)
	one, two := b[b.nameOf(t, first)], b[b.nameOf(t, second)]
	swapped := browser{one.Name: {Name: one.Name, Value: two.Value}}
	_, err := a.openFlow(swapped.request("/"), first)
	require.ErrorIs(t, err, seal.ErrUnsealable)
	younger := a.cookieName(flowCookie + flowTime(time.Now().Add(time.Minute)) + flowID(first))
	renamed := browser{younger: {Name: younger, Value: one.Value}}
	_, err = a.openFlow(renamed.request("/"), first)
	require.ErrorIs(t, err, seal.ErrUnsealable, "as if it had begun later")
}

func TestFlowsPerBrowser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newTestAuth(t, nil)
		b := browser{}
		for _, created := range []time.Time{time.Now().Add(-time.Hour), time.Now().Add(time.Hour)} {
			name := a.cookieName(flowCookie + flowTime(created) + flowID("planted"))
			b[name] = &http.Cookie{Name: name, Value: "planted"}
		}
		var states []string
		for range maxFlows {
			states = append(states, startTestFlow(a, b))
			time.Sleep(time.Microsecond)
		}
		require.Len(t, b, maxFlows, "those of another time went first")
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

// size returns how many bytes of a Cookie header the attempts of b take.
func (b browser) size() (n int) {
	for name, c := range b {
		n += len(name + "=" + c.Value + "; ")
	}
	return n
}

// However long the addresses are where the browser shall return, however many
// sign-ins begin, and whether one after the other or at once: the cookies are
// below 4 KiB, as are the headers of every answer.
func TestFlowCookiesAreSmall(t *testing.T) {
	lengths := []int{1, longReturnTo, longReturnTo + 1, maxReturnTo, maxReturnTo + 1, 2 * maxReturnTo}
	for _, connect := range []bool{false, true} {
		a := newTestAuth(t, func(c *Config) {
			if connect {
				c.AppUser = func(*http.Request) string { return strings.Repeat("u", 4<<10) }
				c.OnLogin = func(context.Context, *Login) error { return nil }
			}
		})
		begin := func(b browser, length int) (state, returnTo string, answer *httptest.ResponseRecorder) {
			r := b.request(a.LoginURL("/" + strings.Repeat("&", length-1)))
			if connect {
				r.Method = http.MethodPost
				r.Header.Set("Sec-Fetch-Site", "same-origin")
			}
			answer = httptest.NewRecorder()
			require.NoError(t, a.Routes()[0].Serve(answer, r))
			var head bytes.Buffer
			require.NoError(t, answer.Result().Header.Write(&head))
			require.Less(t, head.Len(), 4<<10)
			location, err := url.Parse(answer.Header().Get("Location"))
			require.NoError(t, err)
			if length > maxReturnTo {
				length = 1 // AfterLogin
			}
			return location.Query().Get("state"), "/" + strings.Repeat("&", length-1), answer
		}
		for _, length := range lengths {
			b := browser{}
			for i := range 2 * maxFlows {
				state, returnTo, answer := begin(b, length)
				b.keep(answer)
				require.Less(t, b.size(), 4<<10, "attempt %d of length %d", i, length)
				f, err := a.openFlow(b.request("/"), state)
				require.NoError(t, err)
				require.Equal(t, returnTo, f.ReturnTo, "what LoginURL promises")
			}

			b = browser{}
			var answers []*httptest.ResponseRecorder
			var states []string
			for range maxFlows {
				state, _, answer := begin(browser{}, length)
				answers, states = append(answers, answer), append(states, state)
			}
			for _, answer := range answers {
				b.keep(answer)
			}
			require.Less(t, b.size(), 4<<10, "at once, of length %d", length)
			for _, state := range states {
				_, err := a.openFlow(b.request("/"), state)
				require.NoError(t, err, "all can complete")
			}
		}
	}
}

// An attempt with a long return_to loses it to a younger one, and keeps it next
// to any number of short ones.
func TestLongReturnTo(t *testing.T) {
	a := newTestAuth(t, nil)
	b := browser{}
	begin := func(returnTo string) (state string) {
		w := httptest.NewRecorder()
		state, _ = a.startFlow(w, b.request("/"), "", returnTo)
		b.keep(w)
		return state
	}
	long := "/" + strings.Repeat("x", maxReturnTo-1)
	older, newer, short := begin("/older"+long[:500]), begin(long), begin("/short")
	for state, want := range map[string]string{older: "", newer: long, short: "/short"} {
		f, err := a.openFlow(b.request("/"), state)
		require.NoError(t, err)
		require.Equal(t, want, f.ReturnTo)
	}
	f, err := a.openFlow(b.request("/"), short)
	require.NoError(t, err)
	w := httptest.NewRecorder()
	a.clearFlow(w, f)
	b.keep(w)
	f, err = a.openFlow(b.request("/"), newer)
	require.NoError(t, err)
	require.Equal(t, long, f.ReturnTo, "another attempt's end does not touch it")
	w = httptest.NewRecorder()
	a.clearFlow(w, f)
	b.keep(w)
	require.Len(t, b, 1, "only the older is left")
}

// A browser that has collected many attempts loses a few with each answer, the
// oldest first, and no answer has large headers.
func TestManyFlowCookies(t *testing.T) {
	a := newTestAuth(t, nil)
	b := browser{}
	var newest string
	for i := range 40 {
		name := a.cookieName(flowCookie + flowTime(time.Now().Add(time.Duration(i-50)*time.Second)) + flowID(strconv.Itoa(i)))
		b[name], newest = &http.Cookie{Name: name, Value: "x"}, name
	}
	for range 10 {
		require.Contains(t, b, newest)
		w := httptest.NewRecorder()
		require.NoError(t, a.Routes()[0].Serve(w, b.request("/?return_to=/"+strings.Repeat("x", maxReturnTo-1))))
		b.keep(w)
		var head bytes.Buffer
		require.NoError(t, w.Result().Header.Write(&head))
		require.Less(t, head.Len(), 4<<10)
		if len(b) == maxFlows+1 { // and one return_to
			require.Less(t, b.size(), 4<<10)
			return
		}
	}
	require.Fail(t, "too many are left", len(b))
}

// No cookie but one that was made for this name and state opens.
func FuzzFlowCookie(f *testing.F) {
	f.Add("", "")
	f.Add("AQ", "state")
	f.Fuzz(func(t *testing.T, value, state string) {
		a := fuzzAuth
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		name := a.cookieName(flowCookie + flowTime(time.Now()) + flowID(state))
		r.Header.Set("Cookie", name+"="+value)
		_, err := a.openFlow(r, state)
		require.Error(t, err)
		_, err = a.unseal(flowPurpose, name, value)
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
