package core_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
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

// BenchmarkRefresh compares what it takes, over loopback HTTP and the fake's
// share included, until an API call that found its token dead has succeeded:
// the call, a question to token-metadata, the refresh between two writes to a
// store in memory, the call again, and another question, whose the new token
// is. Where it is not a call of the API, each has a connection of its own.
// x/oauth2 alone does one POST on a kept connection, and nothing else of that.
func BenchmarkRefresh(b *testing.B) {
	byHand := func(b *testing.B, transport *http.Transport, sameWork bool) {
		srv := mxmtest.NewServer()
		defer srv.Close()
		defer transport.CloseIdleConnections()
		defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		hc := &http.Client{Transport: transport}
		ctx := context.WithValue(b.Context(), oauth2.HTTPClient, hc)
		conf := &oauth2.Config{
			ClientID: mxmtest.DefaultClientID, ClientSecret: mxmtest.DefaultClientSecret,
			Endpoint: oauth2.Endpoint{TokenURL: srv.URL + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams},
		}
		issued := srv.Issue(alice)
		t := &oauth2.Token{AccessToken: issued.AccessToken, RefreshToken: issued.RefreshToken}
		store, version := core.NewMemory(), ""
		write := func() {
			data, err := json.Marshal(t)
			require.NoError(b, err)
			next := rand.Text()
			require.NoError(b, store.CommitGrant(ctx, "key", version, core.Record{Data: data, Version: next}))
			version = next
		}
		answered := func(want int, resp *http.Response, err error) {
			if err != nil || resp.StatusCode != want {
				b.Fatal(resp, err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		call := func(want int) {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.APIURL()+"/whoami", nil)
			require.NoError(b, err)
			t.SetAuthHeader(r)
			resp, err := http.DefaultClient.Do(r)
			answered(want, resp, err)
		}
		ask := func() {
			resp, err := hc.PostForm(srv.URL+"/oauth/token-metadata", url.Values{"accessToken": {t.AccessToken}})
			answered(http.StatusOK, resp, err)
		}
		refresh := func() {
			t.Expiry = time.Now().Add(-time.Hour)
			var err error
			if t, err = conf.TokenSource(ctx, t).Token(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportAllocs()
		for b.Loop() {
			if !sameWork {
				refresh()
				continue
			}
			srv.ExpireAccessTokens(alice)
			call(http.StatusUnauthorized)
			ask()
			write()
			refresh()
			write()
			call(http.StatusOK)
			ask()
		}
		b.ReportMetric(float64(len(srv.Requests()))/float64(b.N), "requests/op")
	}
	b.Run("x-oauth2 alone", func(b *testing.B) { byHand(b, &http.Transport{}, false) })
	b.Run("x-oauth2, same work", func(b *testing.B) { byHand(b, &http.Transport{DisableKeepAlives: true}, true) })
	b.Run("ours", func(b *testing.B) {
		a, srv := signedIn(b)
		defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		client := a.Client(b.Context(), alice)
		srv.ResetRequests()
		b.ReportAllocs()
		for b.Loop() {
			srv.ExpireAccessTokens(alice)
			resp, err := client.Get(srv.APIURL() + "/whoami")
			if err != nil || resp.StatusCode != http.StatusOK {
				b.Fatal(resp, err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		require.NoError(b, a.Close(context.Background()))
		b.ReportMetric(float64(len(srv.Requests()))/float64(b.N), "requests/op")
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
