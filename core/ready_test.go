package core_test

import (
	"context"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/sessionstore/storetest"
)

func TestReady(t *testing.T) {
	srv := mxmtest.NewServer()
	defer srv.Close()
	store := storetest.NewFaulty(core.NewMemory())
	config := srv.Config("http://127.0.0.1:8080")
	config.Grants, config.Sessions, config.Keys = store, core.NewSessions(store), testKeys
	auth, err := core.New(config)
	require.NoError(t, err)
	require.NoError(t, auth.Ready(t.Context()))
	keys, _, err := store.ListGrants(t.Context(), "", 1000)
	require.NoError(t, err)
	require.Empty(t, keys, "it left something behind")

	for name, tt := range map[string]struct {
		fault storetest.Fault
		ops   []storetest.Op
		want  string
	}{
		"grants cannot be read":       {storetest.Down, []storetest.Op{storetest.FindGrant}, "Config.Grants: storetest"},
		"grants cannot be written":    {storetest.ReadOnly, []storetest.Op{storetest.CommitGrant}, "Config.Grants: storetest"},
		"grants are lost":             {storetest.LoseWrite, []storetest.Op{storetest.CommitGrant}, "Config.Grants: it does not return"},
		"sessions cannot be read":     {storetest.Down, []storetest.Op{storetest.Find}, "Config.Sessions: storetest"},
		"sessions cannot be written":  {storetest.ReadOnly, []storetest.Op{storetest.Commit}, "Config.Sessions: storetest"},
		"sessions are lost":           {storetest.LoseWrite, []storetest.Op{storetest.Commit}, "Config.Sessions: it does not return"},
		"neither works, the grants":   {storetest.Down, nil, "Config.Grants: storetest"},
		"neither works, the sessions": {storetest.Down, nil, "Config.Sessions: storetest"},
	} {
		t.Run(name, func(t *testing.T) {
			defer store.Heal()
			store.Inject(tt.fault, tt.ops...)
			err := auth.Ready(t.Context())
			require.ErrorIs(t, err, core.ErrUnavailable)
			require.ErrorContains(t, err, tt.want)
		})
	}

	t.Run("a store that hangs is waited for as long as the context", func(t *testing.T) {
		defer store.Heal()
		store.Delay(time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		err := auth.Ready(ctx)
		require.ErrorIs(t, err, core.ErrUnavailable)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
	require.NoError(t, auth.Ready(t.Context()))
	require.Empty(t, srv.Requests(), "Musixmatch is none of its business")
}

type brokenSessions struct{ scs.CtxStore }

func TestReadyOfAStoreThatPanics(t *testing.T) {
	srv := mxmtest.NewServer()
	defer srv.Close()
	config := srv.Config("http://127.0.0.1:8080")
	config.Sessions = core.NewSessions(brokenSessions{})
	config.Keys = testKeys
	auth, err := core.New(config)
	require.NoError(t, err)
	err = auth.Ready(t.Context())
	require.ErrorIs(t, err, core.ErrUnavailable)
	require.ErrorContains(t, err, "Config.Sessions: panic")
}
