package core_test

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// What else happens in a grant's life.
var lifeFaults = []fault{
	{"disconnect during a refresh", tests{
		"here":      func(t *testing.T, w *world) { disconnectDuring(t, w, true) },
		"elsewhere": func(t *testing.T, w *world) { disconnectDuring(t, w, false) },
	}},
	{"login again while the old grant refreshes", tests{
		"": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			untilDue()
			var again string
			w.srv.Fail(mxmtest.Token, mxmtest.AfterCommit(func(*mxmtest.Exchange) {
				id, err := b.Import(t.Context(), w.srv.Issue(alice).RefreshToken)
				require.NoError(t, err)
				require.Equal(t, alice, id)
				again = b.token(t)
			}))
			require.Equal(t, again, func() string { a.TokenSource(t.Context(), alice).Token(); return a.token(t) }())
			require.True(t, w.srv.IsLive(again))
			require.Equal(t, []string{"refresh_failed dropped"}, a.kinds(core.EventRefreshFailed))
		},
	}},
	{"in-flight API calls when the AT dies", tests{
		"": func(t *testing.T, w *world) {
			// Twenty calls of b carry the old token when a's refresh kills it.
			a, b := w.start(), w.start()
			w.signIn(a)
			time.Sleep(time.Hour - 3*lease)
			b.token(t)
			arrived, release := make(chan struct{}, 20), make(chan struct{})
			w.srv.Fail(mxmtest.API, func(x *mxmtest.Exchange) { arrived <- struct{}{}; x.Wait(release) }, mxmtest.Times(20))
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					resp, err := b.Client(t.Context(), alice).Get(w.srv.APIURL() + "/whoami")
					require.NoError(t, err)
					resp.Body.Close()
					require.Equal(t, http.StatusOK, resp.StatusCode)
				})
			}
			for range 20 {
				<-arrived
			}
			time.Sleep(lease + time.Second)
			a.token(t)
			close(release)
			wg.Wait()
			w.unharmed(1, a, b)
		},
	}},
	{"clock ±1 h on one instance", tests{
		"the server ahead":  func(t *testing.T, w *world) { skewed(t, w, time.Hour) },
		"the server behind": func(t *testing.T, w *world) { skewed(t, w, -time.Hour) },
	}},
	{"expires_in 0, 1, −1, missing, huge", expiresIn("0", "1", "-1", "", "1e300", "31536000000")},
	{"secret misconfigured in a deploy", tests{
		"": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			first := a.token(t)
			bad := w.start(func(c *core.Config) { c.ClientSecret = "wrong" })
			untilDue()
			require.Equal(t, first, bad.token(t))
			time.Sleep(5 * time.Minute)
			require.ErrorIs(t, bad.tokenErr(t, time.Second), core.ErrUnavailable)
			time.Sleep(5 * time.Minute)
			require.Contains(t, bad.kinds(core.EventRefreshFailed), "refresh_failed invalid_client")
			require.Empty(t, bad.kinds(core.EventReconnect))
			w.srv.ResetRequests()
			a.token(t)
			w.unharmed(1, a)
		},
	}},
	{"server down for an hour", tests{
		"refusing": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			untilDue()
			w.net.broken.Store(true)
			for range 60 {
				if err := a.tokenErr(t, time.Second); err != nil {
					require.ErrorIs(t, err, core.ErrUnavailable)
				}
				time.Sleep(time.Minute)
			}
			w.net.broken.Store(false)
			time.Sleep(settle)
			a.token(t)
			w.unharmed(1, a)
		},
		"answering 500": func(t *testing.T, w *world) { // V12
			a, b := w.start(), w.start()
			w.signIn(a)
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.Status(500, "", 0), mxmtest.Always())
			w.srv.Fail(mxmtest.Metadata, mxmtest.Status(500, "", 0), mxmtest.Always())
			for range 60 {
				for _, i := range []*instance{a, b} {
					if err := i.tokenErr(t, time.Second); err != nil {
						require.ErrorIs(t, err, core.ErrUnavailable)
					}
				}
				time.Sleep(time.Minute)
			}
			w.srv.ClearFaults()
			time.Sleep(10 * lease)
			require.Equal(t, a.token(t), b.token(t))
			require.Equal(t, w.life().AccessToken, a.token(t))
			require.Empty(t, a.kinds(core.EventReconnect))
			require.Empty(t, b.kinds(core.EventReconnect))
		},
		"answering 500, the oracle well": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			time.Sleep(30 * time.Minute)
			w.srv.Fail(mxmtest.Token, mxmtest.Status(500, "", 0), mxmtest.Always())
			w.srv.ExpireAccessTokens(alice)
			w.srv.Configure(func(s *mxmtest.Settings) {})
			for range 60 {
				if err := a.tokenErr(t, time.Second); err != nil {
					require.ErrorIs(t, err, core.ErrUnavailable)
				}
				time.Sleep(time.Minute)
			}
			w.srv.ClearFaults()
			time.Sleep(10 * lease)
			require.NoError(t, a.tokenErr(t, time.Minute))
			require.Equal(t, w.life().AccessToken, a.token(t))
			require.Empty(t, a.kinds(core.EventReconnect))
		},
	}},
	{"sealing key rotated meanwhile; wrong key deployed", tests{
		"rotated": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			b := w.start(func(c *core.Config) { c.Keys = [][]byte{otherKey(), testKeys[0]} })
			require.Equal(t, a.token(t), b.token(t))
			untilDue()
			b.token(t)
			w.unharmed(1, b)
		},
		"wrong": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			before := w.save()
			b := w.start(func(c *core.Config) { c.Keys = [][]byte{otherKey()} })
			began := time.Now()
			require.ErrorIs(t, b.tokenErr(t, time.Minute), core.ErrUnavailable)
			require.Less(t, time.Since(began), time.Second, "no waiting brings the key")
			require.Contains(t, b.kinds(core.EventRefreshFailed), "refresh_failed decrypt_failed")
			require.Equal(t, before, w.save())
			untilDue()
			a.token(t)
			w.unharmed(1, a)
		},
	}},
	{"database restored from yesterday", tests{
		"": func(t *testing.T, w *world) {
			a := w.start()
			w.signIn(a)
			before := w.save()
			untilDue()
			a.token(t)
			time.Sleep(24 * time.Hour)
			a.token(t)
			w.rewind(before)
			b := w.start() // it remembers nothing, and a is gone
			w.srv.ResetRequests()
			require.ErrorIs(t, b.tokenErr(t, time.Second), core.ErrReconnect)
			w.lost("revoked", 1, b)
		},
	}},
}

func disconnectDuring(t *testing.T, w *world, here bool) {
	w.srv.Configure(func(s *mxmtest.Settings) { s.Revocation = true })
	revoking := func(c *core.Config) { c.Endpoint.RevocationURL = w.srv.URL + "/oauth/revoke" }
	a, b := w.start(revoking), w.start(revoking)
	w.signIn(a)
	untilDue()
	other := b
	if here {
		other = a
	}
	w.srv.Fail(mxmtest.Revocation, mxmtest.HTML(502)) // of the tokens that Disconnect found: the late ones remain
	w.srv.Fail(mxmtest.Token, mxmtest.AfterCommit(func(*mxmtest.Exchange) {
		require.NoError(t, other.Disconnect(t.Context(), alice))
	}))
	require.ErrorIs(t, a.tokenErr(t, time.Minute), core.ErrReconnect)
	require.ErrorIs(t, b.tokenErr(t, time.Minute), core.ErrReconnect)
	synctest.Wait()
	require.Empty(t, w.srv.Live(alice), "the late tokens are revoked")
	require.Empty(t, a.kinds(core.EventReconnect), "a disconnect is no loss")
}

func skewed(t *testing.T, w *world, skew time.Duration) {
	a := w.start()
	w.signIn(a)
	w.srv.Configure(func(s *mxmtest.Settings) { s.DateSkew = skew })
	untilDue()
	a.token(t)
	b := w.start() // it has not spoken with the server yet
	for range 8 {
		resp, err := b.Client(t.Context(), alice).Get(w.srv.APIURL() + "/whoami")
		require.NoError(t, err)
		resp.Body.Close()
		require.Equal(t, http.StatusOK, resp.StatusCode)
		time.Sleep(15 * time.Minute)
	}
	require.LessOrEqual(t, len(w.refreshes()), 4, "two hours need two; each instance may be wrong once")
	for _, r := range w.refreshes() {
		require.False(t, r.Spent)
	}
	require.Empty(t, b.kinds(core.EventReconnect))
}

func expiresIn(values ...string) tests {
	all := tests{}
	for _, v := range values {
		all["expires_in "+v] = func(t *testing.T, w *world) {
			fault := mxmtest.SetField("expires_in", v)
			if v == "" {
				fault = mxmtest.DropField("expires_in")
			}
			w.srv.Fail(mxmtest.Token, fault, mxmtest.Always())
			a := w.start()
			w.signIn(a)
			for range 600 { // ten minutes, a call each second
				a.token(t)
				time.Sleep(time.Second)
			}
			require.LessOrEqual(t, len(w.refreshes()), 30, "at most one in 24 s")
			require.Empty(t, a.kinds(core.EventReconnect))
			w.agree(a)
		}
	}
	return all
}

func otherKey() []byte {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(255 - i*5)
	}
	return key
}
