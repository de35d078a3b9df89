package core_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/nethttpmw"
	"github.com/mxmconnect/mxmconnect/sessionstore/redisstore"
	"github.com/mxmconnect/mxmconnect/sessionstore/sqlitestore"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest/engines"
)

// docs/incidents.md quotes the functions of this file, and names its tests.

// disconnectAll ends all grants, and all sessions of their users.
func disconnectAll(ctx context.Context, auth *core.Auth) error {
	var errs []error
	for g, err := range auth.Grants(ctx) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		_, err = auth.SignOutEverywhere(ctx, g.UserID)
		errs = append(errs, err, auth.Disconnect(ctx, g.UserID))
	}
	return errors.Join(errs...)
}

// verifyAll asks Musixmatch about all grants, one each second, and returns the
// users whose grants are lost.
func verifyAll(ctx context.Context, auth *core.Auth) (lost []string, err error) {
	pace := time.NewTicker(time.Second)
	defer pace.Stop()
	for g, err := range auth.Grants(ctx) {
		if err != nil {
			return lost, err
		}
		<-pace.C
		err = auth.Verify(ctx, g.UserID)
		if errors.Is(err, core.ErrReconnect) {
			lost = append(lost, g.UserID)
		} else if err != nil {
			return lost, err
		}
	}
	return lost, nil
}

// notConnected returns those of the application's users who must connect again.
func notConnected(ctx context.Context, auth *core.Auth, users []string) (ask []string, err error) {
	for _, user := range users {
		g, err := auth.Grant(ctx, user)
		if err != nil {
			return ask, err
		}
		if g.Status != core.GrantLive {
			ask = append(ask, user)
		}
	}
	return ask, nil
}

// export returns what is kept about a user, without secrets.
func export(ctx context.Context, auth *core.Auth, user string) ([]byte, error) {
	grant, err := auth.Grant(ctx, user)
	if err != nil {
		return nil, err
	}
	sessions, err := auth.Sessions(ctx, user)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{"grant": grant, "sessions": sessions})
}

// erase ends what is kept about a user.
func erase(ctx context.Context, auth *core.Auth, user string) error {
	if _, err := auth.SignOutEverywhere(ctx, user); err != nil {
		return err
	}
	return auth.Disconnect(ctx, user)
}

// site is an application whose page says who is signed in.
func site(auth *core.Auth) http.Handler {
	mux := http.NewServeMux()
	nethttpmw.Mount(mux, auth)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, nethttpmw.UserID(r)) })
	return nethttpmw.Middleware(auth)(mux)
}

// page returns what the site's page says to a browser.
func page(t *testing.T, site http.Handler, cookies []*http.Cookie) string {
	t.Helper()
	body, err := io.ReadAll(get(site, "/", cookies...).Body)
	require.NoError(t, err)
	return string(body)
}

func TestIncidentClientSecretLeaked(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		before := w.start()
		w.signIn(before)
		w.srv.AddClient(mxmtest.DefaultClientID, "a new secret")
		time.Sleep(2 * time.Hour)
		require.ErrorIs(t, before.Verify(t.Context(), alice), core.ErrUnavailable, "no grant is touched")
		after := w.start(func(c *core.Config) { c.ClientSecret = "a new secret" })
		time.Sleep(time.Hour)
		require.NoError(t, after.Verify(t.Context(), alice))
	})
}

func TestIncidentKeyLeaked(t *testing.T) {
	_, srv, _ := logged(t, nil)
	store := core.NewMemory()
	start := func(keys ...[]byte) *core.Auth {
		c := srv.Config("http://localhost")
		c.Keys, c.Grants, c.Sessions = keys, store, core.NewSessions(store)
		c.Logger = slog.New(slog.DiscardHandler)
		c.Endpoint.RevocationURL = c.BaseURL + "/oauth/revoke"
		auth, err := core.New(c)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, auth.Close(context.Background())) })
		return auth
	}
	srv.Configure(func(s *mxmtest.Settings) { s.Revocation = true })
	leaked, fresh := testKeys[0], keyLike(1)
	cookies := signIn(t, site(start(leaked))).Cookies()
	both := start(fresh, leaked)
	require.Equal(t, alice, page(t, site(both), cookies))
	require.Len(t, srv.Live(alice), 1)

	require.NoError(t, disconnectAll(t.Context(), both))
	require.Empty(t, srv.Live(alice))
	require.Empty(t, page(t, site(both), cookies))

	last := start(fresh)
	require.Empty(t, page(t, site(last), cookies))
	require.Equal(t, alice, page(t, site(last), signIn(t, site(last)).Cookies()))
}

// Who was refreshed since the backup is lost. Who has left is not asked about, and
// the others are connected.
func TestIncidentRestoredFromYesterday(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		const still, left = "mxm:100000000000000000002", "mxm:100000000000000000003"
		before := w.start()
		w.signIn(before)
		for _, user := range []string{still, left} {
			_, err := before.Import(t.Context(), w.srv.Issue(user).RefreshToken)
			require.NoError(t, err)
		}
		time.Sleep(time.Hour)
		backup := w.save()
		time.Sleep(day)
		before.token(t)
		require.NoError(t, before.Close(t.Context()))
		w.rewind(backup)

		after := w.start()
		require.NoError(t, after.Disconnect(t.Context(), left))
		lost, err := verifyAll(t.Context(), after.Auth)
		require.NoError(t, err)
		require.Equal(t, []string{alice}, lost)
		ask, err := notConnected(t.Context(), after.Auth, []string{alice, still, left})
		require.NoError(t, err)
		require.Equal(t, []string{alice, left}, ask)
	})
}

func TestIncidentSessionsEmptied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.db")
	store, err := sqlitestore.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	auth, _, _ := logged(t, func(c *core.Config, _ *mxmtest.Server) {
		c.Grants, c.Sessions, c.Keys = store, core.NewSessions(store), testKeys
	})
	cookies := signIn(t, site(auth)).Cookies()
	require.Equal(t, alice, page(t, site(auth), cookies))
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Exec("DELETE FROM mxm_sessions")
	require.NoError(t, err)
	require.Empty(t, page(t, site(auth), cookies))
}

func TestIncidentMusixmatchDown(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		i := w.start()
		w.signIn(i)
		time.Sleep(30 * time.Minute)
		w.srv.Fail(mxmtest.Token, mxmtest.Status(503, `{}`, 0), mxmtest.Always())
		w.srv.Fail(mxmtest.Metadata, mxmtest.Status(503, `{}`, 0), mxmtest.Always())
		i.token(t) // until it expires
		for range 60 {
			time.Sleep(time.Minute)
			_ = i.tokenErr(t, time.Second)
		}
		require.ErrorIs(t, i.tokenErr(t, time.Minute), core.ErrUnavailable)
		w.srv.ClearFaults()
		time.Sleep(10 * time.Minute)
		i.token(t)
		require.NoError(t, i.Verify(t.Context(), alice))
		require.Empty(t, i.kinds(core.EventReconnect))
	})
}

func TestIncidentRedisLost(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: engines.StartRedis(t).Addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { client.Close() })
	store, err := redisstore.New(t.Context(), client, "app:")
	require.NoError(t, err)
	auth, srv, _ := logged(t, func(c *core.Config, _ *mxmtest.Server) {
		c.Grants, c.Sessions, c.Keys = store, core.NewSessions(store), testKeys
	})
	users := []string{alice, "mxm:100000000000000000002"}
	for _, user := range users {
		_, err := auth.Import(t.Context(), srv.Issue(user).RefreshToken)
		require.NoError(t, err)
	}
	ask, err := notConnected(t.Context(), auth, users)
	require.NoError(t, err)
	require.Empty(t, ask)

	require.NoError(t, client.FlushAll(t.Context()).Err())
	require.NoError(t, auth.Ready(t.Context()))
	ask, err = notConnected(t.Context(), auth, users)
	require.NoError(t, err)
	require.Equal(t, users, ask)
	require.Equal(t, alice, page(t, site(auth), signIn(t, site(auth)).Cookies()))
	ask, err = notConnected(t.Context(), auth, users)
	require.NoError(t, err)
	require.Equal(t, users[1:], ask)
}

func TestIncidentUserAsks(t *testing.T) {
	auth, srv, _ := logged(t, nil)
	cookies := signIn(t, site(auth)).Cookies()
	exported, err := export(t.Context(), auth, alice)
	require.NoError(t, err)
	require.Contains(t, string(exported), `"UserID":"`+alice+`"`)
	require.Contains(t, string(exported), `"Browser":"Unknown browser"`)
	secrets := []string{srv.Live(alice)[0].AccessToken, srv.Live(alice)[0].RefreshToken}
	for _, c := range cookies {
		if c.Value != "" {
			secrets = append(secrets, c.Value)
		}
	}
	require.Greater(t, len(secrets), 2)
	for _, secret := range secrets {
		require.NotContains(t, string(exported), secret)
	}

	require.NoError(t, erase(t.Context(), auth, alice))
	require.Empty(t, page(t, site(auth), cookies))
	exported, err = export(t.Context(), auth, alice)
	require.NoError(t, err)
	require.Contains(t, string(exported), `"Status":"disconnected"`)
	require.Contains(t, string(exported), `"sessions":null`)
}
