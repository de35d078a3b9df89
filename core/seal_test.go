package core

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func ring(t *testing.T, keys ...[]byte) keyring {
	r, err := newKeyring(keys)
	require.NoError(t, err)
	return r
}

func TestSealBindsPurposeAndPlace_R_ST_1(t *testing.T) {
	r := ring(t, testKey(1))
	sealed := r.seal("grant", "place", []byte("plain"))
	require.NotContains(t, string(sealed), "plain")
	plain, err := r.open("grant", "place", sealed)
	require.NoError(t, err)
	require.Equal(t, "plain", string(plain))

	for name, open := range map[string]func() ([]byte, error){
		"another place":   func() ([]byte, error) { return r.open("grant", "elsewhere", sealed) },
		"another purpose": func() ([]byte, error) { return r.open("flow", "place", sealed) },
		"another key":     func() ([]byte, error) { return ring(t, testKey(2)).open("grant", "place", sealed) },
		"cut short":       func() ([]byte, error) { return r.open("grant", "place", sealed[:len(sealed)-1]) },
		"only a header":   func() ([]byte, error) { return r.open("grant", "place", sealed[:sealHeader-1]) },
		"nothing":         func() ([]byte, error) { return r.open("grant", "place", nil) },
	} {
		_, err := open()
		require.ErrorIs(t, err, errUnsealable, name)
	}
	for i := range sealed {
		changed := append([]byte{}, sealed...)
		changed[i] ^= 1
		_, err := r.open("grant", "place", changed)
		require.ErrorIs(t, err, errUnsealable, "byte %d", i)
	}
	require.NotEqual(t, sealed, r.seal("grant", "place", []byte("plain")), "every seal has its own nonce")
}

func TestKeyRotation_R_ST_2(t *testing.T) {
	before, during, after := ring(t, testKey(1)), ring(t, testKey(2), testKey(1)), ring(t, testKey(2))
	old := before.seal("p", "k", []byte("x"))
	_, err := during.open("p", "k", old)
	require.NoError(t, err)
	renewed := during.seal("p", "k", []byte("x"))
	_, err = after.open("p", "k", renewed)
	require.NoError(t, err, "the first key seals")
	_, err = after.open("p", "k", old)
	require.ErrorIs(t, err, errUnsealable)
}
