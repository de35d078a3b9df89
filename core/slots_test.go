package core

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// When as many refreshes are under way as may be, a user whose turn has not
// come is served the token that still lives, nothing is announced meanwhile,
// and Close does not wait for a turn.
func TestRefreshesAreBounded_R_DO_3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		a := newTestAuth(t, func(c *Config) {
			c.HTTPClient = &http.Client{Transport: canned{
				status: 200, header: http.Header{"Content-Type": {"application/json"}},
				body: `{"access_token":"new","token_type":"Bearer","expires_in":3600,"refresh_token":"next","active":true,"sub":"mxm:1"}`,
			}}
		})
		signIn := func(user string) {
			require.NoError(t, a.storeLogin(ctx, user, &tokens{Access: "old", Refresh: "rt", Issued: time.Now(), ExpiresIn: time.Minute}))
		}
		for range maxPosts {
			a.refresher.posts <- struct{}{}
		}
		signIn("mxm:1")
		time.Sleep(50 * time.Second)
		began := time.Now()
		token, err := a.TokenSource(ctx, "mxm:1").Token()
		require.NoError(t, err)
		require.Equal(t, "old", token.AccessToken)
		require.Zero(t, time.Since(began))
		gr, _, _, err := a.grants.find(ctx, "mxm:1")
		require.NoError(t, err)
		require.Nil(t, gr.Intent, "an intent would grow old in the queue")

		a.refresher.posts.release()
		synctest.Wait()
		token, err = a.TokenSource(ctx, "mxm:1").Token()
		require.NoError(t, err)
		require.Equal(t, "new", token.AccessToken)

		a.refresher.posts <- struct{}{}
		signIn("mxm:2")
		time.Sleep(2 * time.Minute)
		waiting := make(chan error)
		go func() {
			_, err := a.TokenSource(ctx, "mxm:2").Token()
			waiting <- err
		}()
		synctest.Wait()
		require.NoError(t, a.Close(ctx))
		require.ErrorIs(t, <-waiting, ErrUnavailable)
	})
}
