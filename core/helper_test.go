package core

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const testSecret = "canary-client-secret"

// newTestAuth returns an Auth for https://app.example whose log nobody reads,
// with change applied to its Config.
func newTestAuth(t testing.TB, change func(*Config)) *Auth {
	t.Helper()
	c := Config{
		ClientID: "client", ClientSecret: testSecret,
		RedirectURL: "https://app.example/auth/musixmatch/callback",
		Logger:      slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&c)
	}
	a, err := New(c)
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, a.Close(ctx))
	})
	return a
}

func testKey(b byte) []byte {
	key := bytes.Repeat([]byte{b}, 32)
	for i := range key {
		key[i] += byte(i)
	}
	return key
}

func noLink(context.Context, string) (string, error) { return "", nil }
