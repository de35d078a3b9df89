package core

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// scriptedMusixmatch answers its endpoints by the last part of their paths, and
// remembers what it was asked.
type scriptedMusixmatch struct {
	answers map[string]string
	asked   []string
	revoked string
}

func (*scriptedMusixmatch) SendsOnce() bool { return true }

func (m *scriptedMusixmatch) RoundTrip(r *http.Request) (*http.Response, error) {
	name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	m.asked = append(m.asked, name)
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	if name == "revoke" {
		m.revoked = r.PostForm.Get("token")
	}
	return &http.Response{
		StatusCode: http.StatusOK, Request: r, Body: io.NopCloser(strings.NewReader(m.answers[name])),
		Header: http.Header{"Content-Type": {"application/json"}},
	}, nil
}

// failingGrants fails the writes for which broken says so, and then the reads.
type failingGrants struct {
	*Memory
	broken func(key string) bool
	unread bool // what follows a write that failed
	failed bool
}

func (g *failingGrants) FindGrant(ctx context.Context, key string) (Record, bool, error) {
	if g.unread && g.failed {
		return Record{}, false, errDown
	}
	return g.Memory.FindGrant(ctx, key)
}

func (g *failingGrants) CommitGrant(ctx context.Context, key, old string, r Record) error {
	if g.broken != nil && g.broken(key) {
		g.failed = true
		return errDown
	}
	return g.Memory.CommitGrant(ctx, key, old, r)
}

// TestFinishLogin is about what can go wrong between a callback that is this
// browser's own and the sign-in: what has been spent by then, what is revoked,
// and whether the same callback works once it is over.
func TestFinishLogin(t *testing.T) {
	const pair = `{"access_token":"at","token_type":"Bearer","expires_in":3600,"refresh_token":"rt","scope":"profile email"}`
	type world struct {
		auth  *Auth
		mxm   *scriptedMusixmatch
		store *failingGrants
		seen  *Login
	}
	for name, tc := range map[string]struct {
		prepare func(w *world)
		query   string // added to the callback's
		want    *Error // nil: signed in
		asked   []string
		revoked bool
		heal    func(w *world) // nil: the same callback does not work again
	}{
		"as it should be": {asked: []string{"token", "token-metadata"}},
		"the scope is left out, so it is as requested": {
			prepare: func(w *world) { w.mxm.answers["token"] = strings.Replace(pair, `,"scope":"profile email"`, "", 1) },
			asked:   []string{"token", "token-metadata"},
		},
		"a required scope was not granted": {
			prepare: func(w *world) { w.mxm.answers["token"] = strings.Replace(pair, " email", "", 1) },
			want:    ErrUpstream, asked: []string{"token", "revoke"}, revoked: true,
		},
		"the application refuses": {
			prepare: func(w *world) {
				w.auth.cfg.OnLogin = func(context.Context, *Login) error { return ErrLoginRefused }
			},
			want: ErrLoginRefused, asked: []string{"token", "token-metadata", "revoke"}, revoked: true,
		},
		"the grant cannot be stored": {
			prepare: func(w *world) { w.store.broken = func(key string) bool { return strings.HasPrefix(key, "grant_") } },
			want:    ErrUnavailable, asked: []string{"token", "token-metadata", "revoke"}, revoked: true,
		},
		"the grant may be stored": {
			prepare: func(w *world) {
				w.store.broken = func(key string) bool { return strings.HasPrefix(key, "grant_") }
				w.store.unread = true
			},
			want: ErrUnavailable, asked: []string{"token", "token-metadata"},
		},
		"the claim cannot be stored": {
			prepare: func(w *world) { w.store.broken = func(key string) bool { return strings.HasPrefix(key, "claim_") } },
			want:    ErrUnavailable,
			heal:    func(w *world) { w.store.broken = nil },
		},
		"the instance is shutting down": {
			prepare: func(w *world) { w.auth.work.closed = true },
			want:    ErrUnavailable,
			heal:    func(w *world) { w.auth.work.closed = false },
		},
		"another issuer": {query: "&iss=https%3A%2F%2Fevil.example", want: ErrState, heal: func(*world) {}},
		"the attempt was to connect": {
			prepare: func(w *world) { w.auth.cfg.AppUser = func(*http.Request) string { return "" } },
			want:    ErrState,
			heal:    func(w *world) { w.auth.cfg.AppUser = nil },
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := &world{
				mxm:   &scriptedMusixmatch{answers: map[string]string{"token": pair, "token-metadata": `{"active":true,"sub":"mxm:1"}`}},
				store: &failingGrants{Memory: NewMemory()},
			}
			w.auth = newTestAuth(t, func(c *Config) {
				c.HTTPClient, c.Grants, c.Keys = &http.Client{Transport: w.mxm}, w.store, [][]byte{testKey(1)}
				c.Endpoint.Issuer, c.Endpoint.RevocationURL = "https://connect.musixmatch.com", "https://connect.musixmatch.com/oauth/revoke"
				c.OnLogin = func(_ context.Context, l *Login) error { w.seen = l; return nil }
			})
			b := browser{}
			login := httptest.NewRecorder()
			require.NoError(t, routeOf(w.auth, "/login")(login, b.request("/auth/musixmatch/login?return_to=/page")))
			b.keep(login)
			location, err := url.Parse(login.Header().Get("Location"))
			require.NoError(t, err)
			callback := func(extra string) (*httptest.ResponseRecorder, error) {
				answer := httptest.NewRecorder()
				err := routeOf(w.auth, "/callback")(answer, b.request("/auth/musixmatch/callback?code=c&state="+location.Query().Get("state")+extra))
				return answer, err
			}
			signedIn := func(extra string) {
				answer, err := callback(extra)
				require.NoError(t, err)
				require.Equal(t, "/page", answer.Header().Get("Location"))
				require.Equal(t, &Login{UserID: "mxm:1", ReturnTo: "/page", Scopes: []string{"profile", "email"}}, w.seen)
				b.keep(answer)
				require.NotNil(t, b["__Host-Http-mxm_session"])
			}
			if tc.prepare != nil {
				tc.prepare(w)
			}
			if tc.want == nil {
				signedIn(tc.query)
				require.Equal(t, tc.asked, w.mxm.asked)
				return
			}
			answer, err := callback(tc.query)
			require.ErrorIs(t, err, tc.want)
			require.Equal(t, tc.want == ErrUnavailable, answer.Header().Get("Retry-After") != "")
			require.Equal(t, tc.asked, w.mxm.asked)
			require.Equal(t, tc.revoked, w.mxm.revoked == "rt")
			b.keep(answer)
			require.Nil(t, b["__Host-Http-mxm_session"])
			if tc.heal != nil {
				tc.heal(w)
				signedIn("")
			}
		})
	}
}
