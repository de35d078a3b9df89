package session_test

import (
	"testing"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mxmconnect/mxmconnect/core"
)

func TestManagersAreApartAndStartNothing(t *testing.T) {
	running := goleak.IgnoreCurrent()
	one, two := core.NewSessions(core.NewMemory()), core.NewSessions(core.NewMemory())
	goleak.VerifyNone(t, running)

	ctx, err := one.Load(t.Context(), "")
	require.NoError(t, err)
	one.Put(ctx, "x", "one")
	both, err := two.Load(ctx, "")
	require.NoError(t, err)
	require.NotEqual(t, ctx, both, "the other manager's data is not taken for its own")
	two.Put(both, "x", "two")
	require.Equal(t, "one", one.GetString(both, "x"))
	require.Equal(t, "two", two.GetString(both, "x"))
}

func TestManagerIsWhatScsWouldHaveMade(t *testing.T) {
	theirs, ours := scs.New(), core.NewSessions(core.NewMemory())
	require.Equal(t, theirs.Cookie.HttpOnly, ours.Cookie.HttpOnly)
	require.Equal(t, theirs.Cookie.Path, ours.Cookie.Path)
	require.Equal(t, theirs.Cookie.SameSite, ours.Cookie.SameSite)
	require.Equal(t, theirs.Cookie.Persist, ours.Cookie.Persist)
	require.NotNil(t, ours.ErrorFunc)
}
