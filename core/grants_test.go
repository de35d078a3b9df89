package core_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
)

func TestGrantAsksTheStoreAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ctx, i := t.Context(), w.start()
		_, err := i.Grant(ctx, "")
		require.ErrorIs(t, err, core.ErrNotSignedIn)
		info, err := i.Grant(ctx, alice)
		require.NoError(t, err)
		require.Equal(t, core.GrantInfo{UserID: alice, Status: core.GrantDisconnected, Scopes: []string{}}, info)

		w.signIn(i)
		begin := time.Now()
		untilDue()
		finds := 0
		i.store.watch(func(c storeCall) error {
			finds++
			require.Equal(t, "find", c.op)
			return c.do()
		})
		info, err = i.Grant(ctx, alice)
		require.NoError(t, err)
		require.Equal(t, 1, finds)
		i.store.watch(nil)
		require.Empty(t, w.srv.Requests())
		require.Equal(t, []any{alice, core.GrantLive, ""}, []any{info.UserID, info.Status, info.Reason})
		require.ElementsMatch(t, []string{"profile", "email"}, info.Scopes)
		for _, at := range []time.Time{info.ConnectedAt, info.RefreshedAt, info.Since} {
			require.WithinDuration(t, begin, at, 2*time.Second)
		}

		i.token(t)
		info, err = i.Grant(ctx, alice)
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), info.RefreshedAt, 2*time.Second)
		require.WithinDuration(t, begin, info.ConnectedAt, 2*time.Second)

		w.srv.Revoke(alice)
		time.Sleep(settle)
		require.ErrorIs(t, i.Verify(ctx, alice), core.ErrReconnect)
		info, err = i.Grant(ctx, alice)
		require.NoError(t, err)
		require.Equal(t, []any{core.GrantReconnect, "revoked"}, []any{info.Status, info.Reason})
		require.WithinDuration(t, time.Now(), info.Since, 2*time.Second)

		require.NoError(t, i.Disconnect(ctx, alice))
		info, err = i.Grant(ctx, alice)
		require.NoError(t, err)
		require.Equal(t, core.GrantInfo{UserID: alice, Status: core.GrantDisconnected, Scopes: []string{}}, info)

		i.store.watch(func(storeCall) error { return errors.New("the store is down") })
		_, err = i.Grant(ctx, alice)
		require.ErrorIs(t, err, core.ErrUnavailable)
	})
}

// Only the grants of this client at this server are listed, of users, alive or lost.
func TestGrantsListsOurOwn(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		ctx, ours := t.Context(), w.start()
		otherKeys := [][]byte{append([]byte{}, testKeys[0]...)}
		otherKeys[0][0]++
		w.srv.AddClient("other", "other-secret-other-secret", "http://127.0.0.1:8080/auth/musixmatch/callback")
		other := w.start(func(c *core.Config) { c.ClientID, c.ClientSecret = "other", "other-secret-other-secret" })
		sealed := w.start(func(c *core.Config) { c.Keys = otherKeys })

		want := map[string]core.GrantStatus{}
		for n := range 40 {
			user := fmt.Sprintf("mxm:2%020d", n)
			_, err := ours.Import(ctx, w.srv.Issue(user).RefreshToken)
			require.NoError(t, err)
			switch n % 4 {
			case 0:
				require.NoError(t, ours.Disconnect(ctx, user))
			case 1:
				w.srv.Revoke(user)
				time.Sleep(time.Minute)
				require.ErrorIs(t, ours.Verify(ctx, user), core.ErrReconnect)
				want[user] = core.GrantReconnect
			default:
				want[user] = core.GrantLive
			}
		}
		require.NoError(t, other.Disconnect(ctx, alice))
		_, err := sealed.Import(ctx, w.srv.Issue(alice).RefreshToken)
		require.NoError(t, err)

		got, broken := map[string]core.GrantStatus{}, 0
		for info, err := range ours.Grants(ctx) {
			if err != nil {
				require.ErrorIs(t, err, core.ErrUnavailable)
				broken++
				continue
			}
			got[info.UserID] = info.Status
		}
		require.Equal(t, want, got)
		require.Equal(t, 2, broken, "the grant and the import that another key has sealed")

		for range ours.Grants(ctx) {
			break // an application may stop
		}
		canceled, cancel := context.WithCancel(ctx)
		cancel()
		for _, err := range ours.Grants(canceled) {
			require.ErrorIs(t, err, core.ErrUnavailable)
		}
	})
}

func TestGrantsNeedsALister(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		i := w.start(func(c *core.Config) { c.Grants = struct{ core.GrantStore }{w.store} })
		for _, err := range i.Grants(t.Context()) {
			require.ErrorIs(t, err, core.ErrUnsupported)
		}
	})
}
