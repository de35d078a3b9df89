package core_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// signedIn returns an instance over a real loopback connection, with a fresh
// token for alice.
func signedIn(tb testing.TB) (*core.Auth, *mxmtest.Server) {
	tb.Helper()
	srv := mxmtest.NewServer()
	tb.Cleanup(srv.Close)
	c := srv.Config("http://127.0.0.1:8080")
	c.Logger = slog.New(slog.DiscardHandler)
	a, err := core.New(c)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, a.Close(context.Background())) })
	_, err = a.Import(tb.Context(), srv.Issue(alice).RefreshToken)
	require.NoError(tb, err)
	_, err = a.TokenSource(tb.Context(), alice).Token()
	require.NoError(tb, err)
	return a, srv
}

func BenchmarkCachedToken(b *testing.B) {
	a, _ := signedIn(b)
	ctx := context.Background()
	b.Run("x-oauth2", func(b *testing.B) {
		ts := oauth2.ReuseTokenSource(&oauth2.Token{AccessToken: "a", Expiry: time.Now().Add(time.Hour)}, nil)
		b.ReportAllocs()
		for b.Loop() {
			ts.Token()
		}
	})
	b.Run("retained", func(b *testing.B) {
		ts := a.TokenSource(ctx, alice)
		b.ReportAllocs()
		for b.Loop() {
			ts.Token()
		}
	})
	b.Run("made each time", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			a.TokenSource(ctx, alice).Token()
		}
	})
}

// Contention: 1000 goroutines want the same user's token.
func BenchmarkContention(b *testing.B) {
	a, _ := signedIn(b)
	run := func(b *testing.B, ts oauth2.TokenSource) {
		b.ReportAllocs()
		var wg sync.WaitGroup
		for range 1000 {
			wg.Go(func() {
				for range b.N/1000 + 1 {
					ts.Token()
				}
			})
		}
		wg.Wait()
	}
	b.Run("x-oauth2", func(b *testing.B) {
		run(b, oauth2.ReuseTokenSource(&oauth2.Token{AccessToken: "a", Expiry: time.Now().Add(time.Hour)}, nil))
	})
	b.Run("ours", func(b *testing.B) { run(b, a.TokenSource(context.Background(), alice)) })
}

// BenchmarkRefresh compares one whole refresh over loopback HTTP, the fake's
// share included: x/oauth2 on a kept connection does one POST; we do two store
// writes, a POST on a connection of its own, and ask whose the new token is.
func BenchmarkRefresh(b *testing.B) {
	b.Run("x-oauth2", func(b *testing.B) {
		srv := mxmtest.NewServer()
		defer srv.Close()
		conf := &oauth2.Config{
			ClientID: mxmtest.DefaultClientID, ClientSecret: mxmtest.DefaultClientSecret,
			Endpoint: oauth2.Endpoint{TokenURL: srv.URL + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams},
		}
		t := &oauth2.Token{RefreshToken: srv.Issue(alice).RefreshToken}
		b.ReportAllocs()
		for b.Loop() {
			var err error
			t.Expiry = time.Now().Add(-time.Hour)
			if t, err = conf.TokenSource(b.Context(), t).Token(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("ours", func(b *testing.B) {
		a, srv := signedIn(b)
		client := a.Client(b.Context(), alice)
		b.ReportAllocs()
		for b.Loop() {
			srv.ExpireAccessTokens(alice) // the call finds the token dead, asks, refreshes and repeats
			resp, err := client.Get(srv.APIURL() + "/whoami")
			if err != nil || resp.StatusCode != http.StatusOK {
				b.Fatal(resp, err)
			}
			resp.Body.Close()
		}
	})
}

// BenchmarkIdleGrant measures what one grant that was used once keeps in memory
// beyond what the store keeps.
func BenchmarkIdleGrant(b *testing.B) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/oauth/token-metadata" {
			fmt.Fprintf(w, `{"active":true,"sub":%q}`, r.FormValue("accessToken")[:25])
			return
		}
		fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600,"refresh_token":%q,"scope":"profile email"}`,
			r.FormValue("refresh_token")+"-access-token", r.FormValue("refresh_token")+"-refresh-token")
	}))
	defer upstream.Close()
	store := core.NewMemory()
	start := func() *core.Auth {
		a, err := core.New(core.Config{
			ClientID: "c", ClientSecret: "s", RedirectURL: "http://127.0.0.1/cb/x", BaseURL: upstream.URL,
			Grants: store, Keys: testKeys, Logger: slog.New(slog.DiscardHandler),
		})
		require.NoError(b, err)
		return a
	}
	const users = 2000
	id := func(n int) string { return fmt.Sprintf("mxm:%021d", n) }
	importer := start()
	for n := range users {
		_, err := importer.Import(b.Context(), id(n))
		require.NoError(b, err)
	}
	require.NoError(b, importer.Close(b.Context()))
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		a := start()
		before := heap()
		for n := range users {
			_, err := a.TokenSource(b.Context(), id(n)).Token()
			require.NoError(b, err)
		}
		b.ReportMetric(float64(heap()-before)/users, "B/grant")
		require.NoError(b, a.Close(b.Context()))
	}
}
