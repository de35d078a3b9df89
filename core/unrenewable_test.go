package core_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// logIn signs alice in at i by the authorization code.
func (w *world) logIn(i *instance) {
	w.t.Helper()
	require.NoError(w.t, w.tryToLogIn(i))
	w.srv.ResetRequests()
}

// tryToLogIn returns the error of the callback.
func (w *world) tryToLogIn(i *instance) error {
	w.t.Helper()
	w.srv.SignInAs(alice)
	answer := httptest.NewRecorder()
	require.NoError(w.t, i.Routes()[0].Serve(answer, httptest.NewRequest(http.MethodGet, "/auth/musixmatch/login", nil)))
	musixmatch := http.Client{
		Transport:     &http.Transport{DialContext: w.net.dial, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := musixmatch.Get(answer.Header().Get("Location"))
	require.NoError(w.t, err)
	resp.Body.Close()
	back := httptest.NewRequest(http.MethodGet, resp.Header.Get("Location"), nil)
	back.Header.Set("Cookie", strings.Split(answer.Header().Get("Set-Cookie"), ";")[0])
	return i.Routes()[1].Serve(httptest.NewRecorder(), back)
}

// A login without a refresh token serves what it has for as long as
// token-metadata says that it lives, and ends then, with one word of it.
func TestGrantWithoutARefreshToken(t *testing.T) {
	for name, test := range map[string]func(t *testing.T, w *world, a, b *instance){
		"until it expires": func(t *testing.T, w *world, a, b *instance) {
			first := a.token(t)
			for range 59 {
				time.Sleep(time.Minute)
				require.Equal(t, first, a.token(t))
				require.Equal(t, first, b.token(t))
			}
			time.Sleep(time.Minute)
			a.tokenErr(t, time.Second)
			b.tokenErr(t, time.Second)
			time.Sleep(2 * settle)
			w.lost("no_refresh_token", 0, a, b)
		},
		"beyond expires_in, if it lives on": func(t *testing.T, w *world, a, b *instance) {
			first := a.token(t)
			time.Sleep(time.Hour - time.Second)
			w.srv.Fail(mxmtest.Metadata, mxmtest.Chain(
				mxmtest.SetField("active", "true"), mxmtest.SetField("sub", `"`+alice+`"`)), mxmtest.Always())
			time.Sleep(time.Hour)
			for range 3 {
				require.Equal(t, first, a.token(t))
			}
			require.Len(t, w.srv.Requests(), 1, "asked once per lease, not once per call")
			w.srv.ClearFaults()
			time.Sleep(lease)
			w.lost("no_refresh_token", 0, a, b)
		},
		"while token-metadata is silent": func(t *testing.T, w *world, a, b *instance) {
			time.Sleep(time.Hour + time.Second)
			w.srv.Fail(mxmtest.Metadata, mxmtest.HTML(502), mxmtest.Always())
			require.ErrorIs(t, a.tokenErr(t, time.Second), core.ErrUnavailable)
			require.Empty(t, a.kinds(core.EventReconnect), "nobody has said that it is lost")
			w.srv.ClearFaults()
			time.Sleep(time.Minute)
			w.lost("no_refresh_token", 0, a, b)
		},
		"rejected by the API for another reason": func(t *testing.T, w *world, a, b *instance) {
			for range 2 { // the second time it is about to expire
				first := a.token(t)
				w.srv.Fail(mxmtest.API, mxmtest.Status(http.StatusUnauthorized, "", 0))
				resp, err := a.Client(t.Context(), alice).Get(w.srv.APIURL() + "/whoami")
				require.NoError(t, err)
				resp.Body.Close()
				require.Equal(t, http.StatusUnauthorized, resp.StatusCode)
				require.Equal(t, first, a.token(t))
				untilDue()
			}
			require.Empty(t, a.kinds(core.EventReconnect))
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				a, b := w.start(), w.start()
				w.srv.Fail(mxmtest.Token, mxmtest.DropField("refresh_token"), mxmtest.Grant("authorization_code"))
				w.logIn(a)
				test(t, w, a, b)
			})
		})
	}
}
