package core_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
)

// commits counts what is written to a store of grants.
type commits struct {
	core.GrantStore
	n int
}

func (c *commits) CommitGrant(ctx context.Context, key, old string, r core.Record) error {
	c.n++
	return c.GrantStore.CommitGrant(ctx, key, old, r)
}

// Nobody is not a user: an application that passes on the UserID of a visitor
// is told so, and the store gets no tombstone for it.
func TestDisconnectOfNobody(t *testing.T) {
	store := &commits{GrantStore: core.NewMemory()}
	auth, err := core.New(core.Config{
		ClientID: "client", ClientSecret: "secret", RedirectURL: "https://app.example/callback",
		Grants: store, Keys: testKeys,
	})
	require.NoError(t, err)
	require.ErrorIs(t, auth.Disconnect(t.Context(), ""), core.ErrNotSignedIn)
	require.Zero(t, store.n)
	require.NoError(t, auth.Disconnect(t.Context(), alice), "having nothing to end is not an error")
	require.Equal(t, 1, store.n)
}
