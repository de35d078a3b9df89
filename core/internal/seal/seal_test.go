package seal

import (
	"bytes"
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"
)

func ring(t *testing.T, keys ...[]byte) Keyring {
	r, err := New(keys)
	require.NoError(t, err)
	return r
}

func TestSealBindsPurposeAndPlace(t *testing.T) {
	r := ring(t, testKey(1))
	sealed := r.Seal("grant", "place", []byte("plain"))
	require.NotContains(t, string(sealed), "plain")
	plain, err := r.Open("grant", "place", sealed)
	require.NoError(t, err)
	require.Equal(t, "plain", string(plain))

	for name, open := range map[string]func() ([]byte, error){
		"another place":   func() ([]byte, error) { return r.Open("grant", "elsewhere", sealed) },
		"another purpose": func() ([]byte, error) { return r.Open("flow", "place", sealed) },
		"another key":     func() ([]byte, error) { return ring(t, testKey(2)).Open("grant", "place", sealed) },
		"cut short":       func() ([]byte, error) { return r.Open("grant", "place", sealed[:len(sealed)-1]) },
		"only a header":   func() ([]byte, error) { return r.Open("grant", "place", sealed[:sealHeader-1]) },
		"nothing":         func() ([]byte, error) { return r.Open("grant", "place", nil) },
	} {
		_, err := open()
		require.ErrorIs(t, err, ErrUnsealable, name)
	}
	for i := range sealed {
		changed := append([]byte{}, sealed...)
		changed[i] ^= 1
		_, err := r.Open("grant", "place", changed)
		require.ErrorIs(t, err, ErrUnsealable, "byte %d", i)
	}
	require.NotEqual(t, sealed, r.Seal("grant", "place", []byte("plain")), "every seal has its own nonce")
}

func TestKeyRotation(t *testing.T) {
	before, during, after := ring(t, testKey(1)), ring(t, testKey(2), testKey(1)), ring(t, testKey(2))
	old := before.Seal("p", "k", []byte("x"))
	_, err := during.Open("p", "k", old)
	require.NoError(t, err)
	renewed := during.Seal("p", "k", []byte("x"))
	_, err = after.Open("p", "k", renewed)
	require.NoError(t, err, "the first key seals")
	_, err = after.Open("p", "k", old)
	require.ErrorIs(t, err, ErrUnsealable)
}

// A value that another implementation of HKDF and AES-GCM sealed (Python's
// cryptography). What one release has sealed, the next must open.
func TestSealedFormat(t *testing.T) {
	sealed, err := base64.RawURLEncoding.DecodeString("AXEDyXQAAQIDBAUGBwgJCgsMDQ4PEBESExQVFhdZcnTEsBUyGPSEXPvHm-lBbzLiVYo")
	require.NoError(t, err)
	plain, err := ring(t, testKey(1)).Open("grant", "place", sealed)
	require.NoError(t, err)
	require.Equal(t, "plain", string(plain))
	require.Len(t, ring(t, testKey(1)).Seal("grant", "place", plain), len(sealed))
}

func testKey(b byte) []byte {
	key := bytes.Repeat([]byte{b}, 32)
	for i := range key {
		key[i] += byte(i)
	}
	return key
}

// What was sealed opens where it belongs, and no other bytes, nowhere else.
func FuzzSealed(f *testing.F) {
	f.Add("flow", "place", []byte("plain"), uint16(0), byte(1))
	f.Add("", "", []byte{}, uint16(17), byte(255))
	ring, err := New([][]byte{testKey(1), testKey(2)})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, purpose, place string, plain []byte, at uint16, change byte) {
		sealed := ring.Seal(purpose, place, plain)
		opened, err := ring.Open(purpose, place, sealed)
		require.NoError(t, err)
		require.True(t, bytes.Equal(plain, opened))
		_, err = ring.Open(purpose, place+"x", sealed)
		require.ErrorIs(t, err, ErrUnsealable)
		_, err = ring.Open(purpose, place, plain)
		require.ErrorIs(t, err, ErrUnsealable, "what was never sealed")
		i := int(at) % len(sealed)
		_, err = ring.Open(purpose, place, sealed[:i])
		require.ErrorIs(t, err, ErrUnsealable, "cut short")
		if change != 0 {
			sealed[i] ^= change
			_, err = ring.Open(purpose, place, sealed)
			require.ErrorIs(t, err, ErrUnsealable, "changed at %d", i)
		}
	})
}
