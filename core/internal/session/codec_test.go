package session_test

import (
	"encoding/gob"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

type applicationType struct{ Cart []string }

func TestSessionCodecKeepsEveryType(t *testing.T) {
	gob.Register(applicationType{})
	deadline := time.Date(2026, 11, 23, 10, 0, 0, 123, time.UTC)
	plain := map[string]any{
		"string": "ü", "empty": "", "bytes": []byte{0, 1}, "int": -5, "int64": int64(1) << 60,
		"float": 1.5, "true": true, "false": false, "time": deadline.Add(time.Hour),
	}
	for name, values := range map[string]map[string]any{
		"nothing":             {},
		"basic types":         plain,
		"an application type": {"user": "u", "cart": applicationType{[]string{"a"}}},
		"another basic type":  {"int32": int32(7)},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := session.Codec{}.Encode(deadline, values)
			require.NoError(t, err)
			gotDeadline, got, err := session.Codec{}.Decode(b)
			require.NoError(t, err)
			require.True(t, deadline.Equal(gotDeadline))
			require.Equal(t, values, got)
		})
	}
}

func TestSessionCodecRefusesWhatItDoesNotKnow(t *testing.T) {
	b, err := session.Codec{}.Encode(time.Now(), map[string]any{"user": "somebody"})
	require.NoError(t, err)
	for n := range b {
		if n == 0 || (b[0] == session.FormatPlain && n <= 10) {
			continue // a deadline and no values is a whole session
		}
		_, _, err := session.Codec{}.Decode(b[:n])
		require.Error(t, err, "cut at %d", n)
	}
	for _, b := range [][]byte{nil, {0}, {3, 1, 2}, {session.FormatGob}, {session.FormatGob, 1, 2, 3}, {session.FormatPlain}} {
		_, _, err := session.Codec{}.Decode(b)
		require.Error(t, err, "%v", b)
	}
}

func TestSessionCodecBoundsASession(t *testing.T) {
	gob.Register(applicationType{})
	for name, value := range map[string]func(size int) any{
		"basic type":       func(size int) any { return strings.Repeat("x", size) },
		"application type": func(size int) any { return applicationType{[]string{strings.Repeat("x", size)}} },
	} {
		b, err := session.Codec{}.Encode(time.Now(), map[string]any{"cart": value(session.MaxSize - 1000)})
		require.NoError(t, err, name)
		_, _, err = session.Codec{}.Decode(b)
		require.NoError(t, err, name)
		_, err = session.Codec{}.Encode(time.Now(), map[string]any{"cart": value(session.MaxSize)})
		require.ErrorIs(t, err, session.ErrTooLarge, name)

		// A store may hold more all the same.
		b, err = session.EncodeUnbounded(time.Now(), map[string]any{"cart": value(session.MaxSize)})
		require.NoError(t, err, name)
		_, _, err = session.Codec{}.Decode(b)
		require.ErrorIs(t, err, session.ErrUndecodable, name)
		_, ok := session.PeekString(b, "cart")
		require.False(t, ok, name)
	}
}

// What decodes, encodes to something that decodes to the same.
func FuzzSessionCodec(f *testing.F) {
	for _, values := range []map[string]any{{}, {"a": "b"}, {"n": 1, "t": time.Unix(1, 2).UTC(), "f": 2.5, "b": []byte("x"), "ok": true}} {
		b, err := session.Codec{}.Encode(time.Unix(1e9, 0), values)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 0 && b[0] == session.FormatGob {
			return // gob's own matter
		}
		deadline, values, err := session.Codec{}.Decode(b)
		peeked, ok := session.PeekString(b, "a")
		require.Equal(t, err == nil, ok, "what is peeked at is what decodes")
		if err != nil {
			return
		}
		whole, _ := values["a"].(string)
		require.Equal(t, whole, peeked)
		again, err := session.Codec{}.Encode(deadline, values)
		if err != nil {
			return // a time with an odd zone does not marshal
		}
		deadline2, values2, err := session.Codec{}.Decode(again)
		require.NoError(t, err)
		require.True(t, deadline.Equal(deadline2))
		require.Len(t, values2, len(values))
	})
}

// A deadline that nanoseconds since 1970 cannot say is still ahead when it comes back.
func TestSessionOfFarDeadlineLives(t *testing.T) {
	for name, lifetime := range map[string]time.Duration{"a date": 24 * time.Hour, "the longest lifetime": math.MaxInt64} {
		t.Run(name, func(t *testing.T) {
			m, _ := newManager(func(m *scs.SessionManager) { m.Lifetime = lifetime })
			b := browser{}
			signIn(t, m, b, "mxm:1")
			for _, day := range []string{"monday", "tuesday"} {
				serve(m, b, func(w http.ResponseWriter, r *http.Request) {
					if lifetime == 24*time.Hour && day == "monday" {
						m.scs.SetDeadline(r.Context(), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
					}
					m.scs.Put(r.Context(), "day", day)
				})
				user, _ := whoAmI(m, b)
				require.Equal(t, "mxm:1", user, day)
			}
		})
	}
}
