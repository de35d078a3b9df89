package core

import (
	"cmp"
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"
)

const (
	firefox = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:133.0) Gecko/20100101 Firefox/133.0"
	iPhone  = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1"
)

// signInWith signs user in, in a browser that calls itself userAgent.
func signInWith(t *testing.T, a *Auth, userAgent, user string) browser {
	b, w := browser{}, httptest.NewRecorder()
	r := b.request("/")
	r.Header.Set("User-Agent", userAgent)
	a.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.NoError(t, a.sessions.From(r.Context()).SignIn(r.Context(), user))
	})).ServeHTTP(w, r)
	require.Equal(t, http.StatusOK, w.Code)
	b.keep(w)
	return b
}

// sessionsIn returns what b's user sees in b.
func sessionsIn(t *testing.T, a *Auth, b browser) (infos []SessionInfo) {
	serve(a, b, func(w http.ResponseWriter, r *http.Request) {
		var err error
		infos, err = a.Sessions(r.Context(), UserID(r.Context()))
		require.NoError(t, err)
	})
	return infos
}

func TestSessionsOfAUser(t *testing.T) {
	for name, change := range map[string]func(*scs.SessionManager){
		"ours":              func(*scs.SessionManager) {},
		"the application's": func(m *scs.SessionManager) { m.Codec, m.HashTokenInStore = scs.GobCodec{}, false },
	} {
		t.Run(name, func(t *testing.T) {
			sessions := NewSessions(NewMemory())
			change(sessions)
			a, before := newSessionAuth(t, sessions), time.Now().Truncate(time.Second)
			desk := signInWith(t, a, firefox, "mxm:1")
			phone := signInWith(t, a, iPhone, "mxm:1")
			other := signInWith(t, a, iPhone, "mxm:2")

			infos := sessionsIn(t, a, desk)
			require.Len(t, infos, 2)
			require.Equal(t, []string{"Safari on iPhone", "Firefox on Windows"}, []string{infos[0].Browser, infos[1].Browser})
			require.Equal(t, []bool{false, true}, []bool{infos[0].Current, infos[1].Current})
			for _, info := range infos {
				require.WithinRange(t, info.SignedIn, before, time.Now())
				require.WithinRange(t, info.Until, before.Add(24*time.Hour), time.Now().Add(24*time.Hour))
			}
			serve(a, desk, func(w http.ResponseWriter, r *http.Request) { require.NoError(t, sessions.RenewToken(r.Context())) })
			require.Equal(t, infos, sessionsIn(t, a, desk), "the same session, renewed")

			require.ErrorIs(t, a.EndSession(t.Context(), "mxm:2", infos[0].ID), ErrNotFound, "another user's")
			require.NoError(t, a.EndSession(t.Context(), "mxm:1", infos[0].ID))
			require.ErrorIs(t, a.EndSession(t.Context(), "mxm:1", infos[0].ID), ErrNotFound)
			require.Empty(t, whoAmI(a, phone))
			require.Equal(t, infos[1:], sessionsIn(t, a, desk))

			phone = signInWith(t, a, iPhone, "mxm:1")
			n, err := a.SignOutEverywhere(t.Context(), "mxm:1")
			require.NoError(t, err)
			require.Equal(t, 2, n)
			require.Empty(t, whoAmI(a, desk))
			require.Empty(t, whoAmI(a, phone))
			require.Equal(t, "mxm:2", whoAmI(a, other))
			infos, err = a.Sessions(t.Context(), "mxm:1")
			require.NoError(t, err)
			require.Empty(t, infos)
			require.Equal(t, "mxm:1", whoAmI(a, signInWith(t, a, firefox, "mxm:1")), "a later sign-in stays")
		})
	}
}

// A slow request that was running does not bring its session back.
func TestSignOutEverywhereBeatsSlowRequests(t *testing.T) {
	sessions := NewSessions(NewMemory())
	a := newSessionAuth(t, sessions)
	b := signInWith(t, a, firefox, "mxm:1")
	before := maps.Clone(b)
	for _, change := range []func(r *http.Request){
		func(r *http.Request) { sessions.Put(r.Context(), "k", "v") },
		func(r *http.Request) { require.NoError(t, sessions.RenewToken(r.Context())) },
	} {
		w := serve(a, b, func(w http.ResponseWriter, r *http.Request) {
			_, err := a.SignOutEverywhere(r.Context(), "mxm:1")
			require.NoError(t, err)
			change(r)
			io.WriteString(w, "a page")
		})
		require.Equal(t, "a page", w.Body.String())
		require.Empty(t, w.Header().Values("Set-Cookie"))
		require.Empty(t, whoAmI(a, before))
		b = signInWith(t, a, firefox, "mxm:1")
		before = maps.Clone(b)
	}
}

// Nor does one that renews a session which was logged out meanwhile.
func TestLogoutBeatsRenewals(t *testing.T) {
	sessions := NewSessions(NewMemory())
	a := newSessionAuth(t, sessions)
	b := signInWith(t, a, firefox, "mxm:1")
	tab := maps.Clone(b)
	serve(a, tab, func(w http.ResponseWriter, r *http.Request) {
		serve(a, b, func(w http.ResponseWriter, r *http.Request) {
			require.NoError(t, a.sessions.From(r.Context()).SignOut(r.Context()))
		})
		require.NoError(t, sessions.RenewToken(r.Context()))
	})
	require.Empty(t, whoAmI(a, tab))
}

type keepsNothing struct{ scs.CtxStore }

func TestSignOutEverywhereUnsupported(t *testing.T) {
	for name, a := range map[string]*Auth{
		"a store that declares nothing": newSessionAuth(t, NewSessions(keepsNothing{NewMemory()})),
		"connect mode": newTestAuth(t, func(c *Config) {
			c.AppUser = func(*http.Request) string { return "" }
			c.OnLogin = func(_ context.Context, _ *Login) error { return nil }
		}),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := a.SignOutEverywhere(t.Context(), "mxm:1")
			require.ErrorIs(t, err, ErrUnsupported)
			_, err = a.Sessions(t.Context(), "mxm:1")
			require.ErrorIs(t, err, ErrUnsupported)
			require.ErrorIs(t, a.EndSession(t.Context(), "mxm:1", "id"), ErrUnsupported)
		})
	}
	a := newTestAuth(t, nil)
	_, err := a.SignOutEverywhere(t.Context(), "")
	require.ErrorIs(t, err, ErrNotSignedIn)
}

// forgetfulGrants acknowledges writes that a failover then loses.
type forgetfulGrants struct {
	*Memory
	forgets bool
}

func (g *forgetfulGrants) CommitGrant(ctx context.Context, key, old string, r Record) error {
	if g.forgets {
		return nil
	}
	return g.Memory.CommitGrant(ctx, key, old, r)
}

// A failover can lose the list's last write and keep the session. Then it ends
// when its use is next noted.
func TestSessionWhoseEntryIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lists := &forgetfulGrants{Memory: NewMemory()}
		sessions := NewSessions(NewMemory())
		sessions.IdleTimeout = time.Hour
		a := newTestAuth(t, func(c *Config) { c.Sessions, c.Grants, c.Keys = sessions, lists, [][]byte{testKey(1)} })
		lists.forgets = true
		b := signInWith(t, a, firefox, "mxm:1")
		lists.forgets = false
		_, err := a.SignOutEverywhere(t.Context(), "mxm:1")
		require.NoError(t, err)
		later := signInWith(t, a, iPhone, "mxm:1")
		require.Equal(t, "mxm:1", whoAmI(a, b), "nobody can know")
		time.Sleep(time.Minute)
		require.Empty(t, whoAmI(a, b))
		require.Equal(t, "mxm:1", whoAmI(a, later))
	})
}

func TestMostBrowsersOfAUser(t *testing.T) {
	a := newSessionAuth(t, NewSessions(NewMemory()))
	var all []browser
	for range 102 {
		all = append(all, signInWith(t, a, firefox, "mxm:1"))
	}
	for i, b := range all {
		require.Equal(t, i >= 2, whoAmI(a, b) == "mxm:1", "browser %d", i)
	}
	require.Len(t, sessionsIn(t, a, all[50]), 100)
}

// distantSessions is a session store that is far away.
type distantSessions struct{ *Memory }

func (s distantSessions) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	time.Sleep(100 * time.Millisecond)
	return s.Memory.CommitCtx(ctx, token, b, expiry)
}

func (s distantSessions) DeleteCtx(ctx context.Context, token string) error {
	time.Sleep(100 * time.Millisecond)
	return s.Memory.DeleteCtx(ctx, token)
}

// A call that has no time to end all sessions has ended some for good. So the
// next one gets further, and the user can sign in again.
func TestSignOutEverywhereOnADistantStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newSessionAuth(t, NewSessions(distantSessions{NewMemory()}))
		var all []browser
		for range 100 {
			all = append(all, signInWith(t, a, firefox, "mxm:1"))
		}
		_, err := a.SignOutEverywhere(t.Context(), "mxm:1")
		require.ErrorIs(t, err, ErrUnavailable)
		again := browser{}
		for attempts := 0; len(again) == 0; attempts++ {
			require.Less(t, attempts, 3)
			serve(a, again, func(w http.ResponseWriter, r *http.Request) {
				require.NoError(t, a.sessions.From(r.Context()).SignIn(r.Context(), "mxm:1"))
			})
		}
		for _, b := range all {
			require.Empty(t, whoAmI(a, b))
		}
		require.Equal(t, "mxm:1", whoAmI(a, again))
	})
}

// stuckSession is a session store that cannot write the first session any more:
// its slot's master is away.
type stuckSession struct {
	*Memory
	first string
	stuck bool
}

func (s *stuckSession) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	if s.first = cmp.Or(s.first, token); s.stuck && token == s.first {
		return errDown
	}
	return s.Memory.CommitCtx(ctx, token, b, expiry)
}

// A session that cannot be ended keeps no other one alive, and no user out.
func TestSignOutEverywhereEndsWhatItCan(t *testing.T) {
	store := &stuckSession{Memory: NewMemory()}
	sessions := NewSessions(store)
	a := newSessionAuth(t, sessions)
	stuck, phone := signInWith(t, a, firefox, "mxm:1"), signInWith(t, a, iPhone, "mxm:1")
	infos := sessionsIn(t, a, phone)
	store.stuck = true
	require.ErrorIs(t, a.EndSession(t.Context(), "mxm:1", infos[1].ID), ErrUnavailable)
	require.Equal(t, "mxm:1", whoAmI(a, phone))
	_, err := a.SignOutEverywhere(t.Context(), "mxm:1")
	require.ErrorIs(t, err, ErrUnavailable)
	require.Empty(t, whoAmI(a, phone))
	for range 101 {
		again := signInWith(t, a, iPhone, "mxm:1")
		require.Equal(t, "mxm:1", whoAmI(a, again))
	}
	require.Equal(t, "mxm:1", whoAmI(a, stuck), "nobody could end it")
	renewed := maps.Clone(stuck)
	serve(a, renewed, func(_ http.ResponseWriter, r *http.Request) {
		require.NoError(t, sessions.RenewToken(r.Context()))
	})
	require.Empty(t, whoAmI(a, renewed), "it is not renewed")

	store.stuck = false
	_, err = a.SignOutEverywhere(t.Context(), "mxm:1")
	require.NoError(t, err)
	require.Empty(t, whoAmI(a, stuck))
}

// A logout leaves the list. If it cannot, it is a logout all the same, and a
// sign-in that cannot be listed is none.
func TestListThatCannotBeWritten(t *testing.T) {
	grants := &failingGrants{Memory: NewMemory()}
	sessions := NewSessions(NewMemory())
	a := newTestAuth(t, func(c *Config) { c.Sessions, c.Grants, c.Keys = sessions, grants, [][]byte{testKey(1)} })
	signOut := func(b browser) {
		serve(a, b, func(w http.ResponseWriter, r *http.Request) {
			require.NoError(t, a.sessions.From(r.Context()).SignOut(r.Context()))
		})
	}
	listed := func() int {
		all, err := a.browsers.List(t.Context(), "mxm:1")
		require.NoError(t, err)
		return len(all)
	}
	first, second := signInWith(t, a, firefox, "mxm:1"), signInWith(t, a, iPhone, "mxm:1")
	signOut(first)
	require.Equal(t, 1, listed())

	grants.broken = func(key string) bool { return strings.HasPrefix(key, "browsers_") }
	before := maps.Clone(second)
	signOut(second)
	require.Empty(t, whoAmI(a, before))
	require.Equal(t, 1, listed())
	infos, err := a.Sessions(t.Context(), "mxm:1")
	require.NoError(t, err)
	require.Empty(t, infos, "the store does not have it any more")
	_, err = a.SignOutEverywhere(t.Context(), "mxm:1")
	require.ErrorIs(t, err, ErrUnavailable)

	b := browser{}
	w := serve(a, b, func(w http.ResponseWriter, r *http.Request) {
		require.NoError(t, a.sessions.From(r.Context()).SignIn(r.Context(), "mxm:1"))
	})
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Empty(t, b)
}

// The application renews the token of a session while the list cannot be
// written. Its own LoadAndSave saves the session all the same, and so the user
// is signed in again once the list can be written.
func TestRenewalWhileTheListIsAway(t *testing.T) {
	for name, wrapped := range map[string]bool{"inside Wrap": true, "outside of it": false} {
		t.Run(name, func(t *testing.T) {
			grants := &failingGrants{Memory: NewMemory()}
			sessions := NewSessions(NewMemory())
			a := newTestAuth(t, func(c *Config) { c.Sessions, c.Grants, c.Keys = sessions, grants, [][]byte{testKey(1)} })
			b := browser{}
			do := func(h http.Handler) *httptest.ResponseRecorder {
				w := httptest.NewRecorder()
				sessions.LoadAndSave(h).ServeHTTP(w, b.request("/"))
				b.keep(w)
				return w
			}
			renew := func(_ http.ResponseWriter, r *http.Request) { require.NoError(t, sessions.RenewToken(r.Context())) }
			var user string
			var err error
			who := func(_ http.ResponseWriter, r *http.Request) { user, err = a.User(r.Context()) }
			do(a.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				require.NoError(t, a.sessions.From(r.Context()).SignIn(r.Context(), "mxm:1"))
			})))

			grants.broken = func(key string) bool { return strings.HasPrefix(key, "browsers_") }
			if wrapped {
				require.Equal(t, http.StatusServiceUnavailable, do(a.Wrap(http.HandlerFunc(renew))).Code)
			} else {
				do(http.HandlerFunc(renew))
			}
			do(a.Wrap(http.HandlerFunc(who)))
			require.ErrorIs(t, err, ErrUnavailable)
			grants.broken = nil
			do(a.Wrap(http.HandlerFunc(who)))
			require.NoError(t, err)
			require.Equal(t, "mxm:1", user)
		})
	}
}

// With two Auths on one session manager, a sign-in with one renews the session
// of both.
func TestSignOutEverywhereOfTwoAuths(t *testing.T) {
	sessions := NewSessions(NewMemory())
	one := newSessionAuth(t, sessions)
	two := newTestAuth(t, func(c *Config) { c.Sessions, c.Keys, c.ClientID = sessions, [][]byte{testKey(1)}, "another" })
	b := browser{}
	signIn(t, one, b, "mxm:1")
	signIn(t, two, b, "mxm:1")
	_, err := two.SignOutEverywhere(t.Context(), "mxm:9")
	require.NoError(t, err)
	require.Equal(t, "mxm:1", whoAmI(two, b))
	_, err = one.SignOutEverywhere(t.Context(), "mxm:1")
	require.NoError(t, err)
	require.Empty(t, whoAmI(one, b))
}
