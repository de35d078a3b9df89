package storetest_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"testing"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/nethttpmw"
	"github.com/mxmconnect/mxmconnect/sessionstore/memstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest"
	"github.com/stretchr/testify/require"
)

// What docs/stores.md says an application asks of its store. Every call is one
// command, statement or script.
func TestCallsOfAnApplication(t *testing.T) {
	const user = "mxm:100000000000000000001"
	srv := mxmtest.NewServer()
	defer srv.Close()
	srv.SignInAs(user)
	store := storetest.NewFaulty(memstore.New())
	mux := http.NewServeMux()
	app := httptest.NewServer(nil)
	defer app.Close()
	config := srv.Config(app.URL)
	config.Sessions, config.Grants, config.Keys = core.NewSessions(store), store, [][]byte{[]byte("01234567890123456789012345678901")}
	auth, err := core.New(config)
	require.NoError(t, err)
	defer auth.Close(t.Context())
	nethttpmw.Mount(mux, auth)
	mux.Handle("/", nethttpmw.RequireUser(auth)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {})))
	app.Config.Handler = auth.Wrap(mux)

	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	browser := &http.Client{Jar: jar}
	get := func(path string) {
		res, err := browser.Get(app.URL + path)
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	before := map[storetest.Op]int{}
	calls := func() map[storetest.Op]int {
		since := map[storetest.Op]int{}
		for _, op := range []storetest.Op{storetest.Find, storetest.Commit, storetest.Delete, storetest.FindGrant, storetest.CommitGrant, storetest.DeleteGrant} {
			if n := store.Calls(op) - before[op]; n > 0 {
				since[op] = n
			}
			before[op] = store.Calls(op)
		}
		return since
	}

	type counts = map[storetest.Op]int
	get("/auth/musixmatch/login?return_to=/")
	require.Equal(t, counts{storetest.CommitGrant: 3, storetest.FindGrant: 2, storetest.Commit: 1, storetest.Find: 1}, calls(), "a sign-in, and the page after it")
	get("/")
	require.Equal(t, counts{storetest.Find: 1}, calls(), "a request")
	_, err = auth.TokenSource(t.Context(), user).Token()
	require.NoError(t, err)
	require.Empty(t, calls(), "a token that this process knows")
	srv.ExpireAccessTokens(user)
	res, err := auth.Client(t.Context(), user).Get(srv.APIURL() + "/whoami")
	require.NoError(t, err)
	res.Body.Close()
	require.Equal(t, counts{storetest.FindGrant: 2, storetest.CommitGrant: 2}, calls(), "a refresh")
}
