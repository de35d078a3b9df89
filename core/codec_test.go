package core

import (
	"encoding/gob"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"
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
			b, err := sessionCodec{}.Encode(deadline, values)
			require.NoError(t, err)
			gotDeadline, got, err := sessionCodec{}.Decode(b)
			require.NoError(t, err)
			require.True(t, deadline.Equal(gotDeadline))
			require.Equal(t, values, got)
		})
	}
}

func TestSessionCodecRefusesWhatItDoesNotKnow_R_SE_7(t *testing.T) {
	b, err := sessionCodec{}.Encode(time.Now(), map[string]any{"user": "somebody"})
	require.NoError(t, err)
	for n := range b {
		if n == 0 || (b[0] == sessionPlain && n <= 10) {
			continue // a deadline and no values is a whole session
		}
		_, _, err := sessionCodec{}.Decode(b[:n])
		require.Error(t, err, "cut at %d", n)
	}
	for _, b := range [][]byte{nil, {0}, {3, 1, 2}, {sessionGob}, {sessionGob, 1, 2, 3}, {sessionPlain}} {
		_, _, err := sessionCodec{}.Decode(b)
		require.Error(t, err, "%v", b)
	}
}

func TestSessionCodecBoundsASession_R_SE_12(t *testing.T) {
	gob.Register(applicationType{})
	for name, value := range map[string]func(size int) any{
		"basic type":       func(size int) any { return strings.Repeat("x", size) },
		"application type": func(size int) any { return applicationType{[]string{strings.Repeat("x", size)}} },
	} {
		b, err := sessionCodec{}.Encode(time.Now(), map[string]any{"cart": value(maxSession - 1000)})
		require.NoError(t, err, name)
		_, _, err = sessionCodec{}.Decode(b)
		require.NoError(t, err, name)
		_, err = sessionCodec{}.Encode(time.Now(), map[string]any{"cart": value(maxSession)})
		require.ErrorIs(t, err, errSessionTooLarge, name)

		// A store may hold more all the same.
		b, err = sessionCodec{}.encode(time.Now(), map[string]any{"cart": value(maxSession)})
		require.NoError(t, err, name)
		_, _, err = sessionCodec{}.Decode(b)
		require.ErrorIs(t, err, errUndecodable, name)
		_, ok := peekString(b, "cart")
		require.False(t, ok, name)
	}
}

// What decodes, encodes to something that decodes to the same.
func FuzzSessionCodec(f *testing.F) {
	for _, values := range []map[string]any{{}, {"a": "b"}, {"n": 1, "t": time.Unix(1, 2).UTC(), "f": 2.5, "b": []byte("x"), "ok": true}} {
		b, err := sessionCodec{}.Encode(time.Unix(1e9, 0), values)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 0 && b[0] == sessionGob {
			return // gob's own matter
		}
		deadline, values, err := sessionCodec{}.Decode(b)
		peeked, ok := peekString(b, "a")
		require.Equal(t, err == nil, ok, "what is peeked at is what decodes")
		if err != nil {
			return
		}
		whole, _ := values["a"].(string)
		require.Equal(t, whole, peeked)
		again, err := sessionCodec{}.Encode(deadline, values)
		if err != nil {
			return // a time with an odd zone does not marshal
		}
		deadline2, values2, err := sessionCodec{}.Decode(again)
		require.NoError(t, err)
		require.True(t, deadline.Equal(deadline2))
		require.Len(t, values2, len(values))
	})
}

// A deadline that nanoseconds since 1970 cannot say is still ahead when it comes back.
func TestSessionOfFarDeadlineLives(t *testing.T) {
	for name, lifetime := range map[string]time.Duration{"a date": 24 * time.Hour, "the longest lifetime": math.MaxInt64} {
		t.Run(name, func(t *testing.T) {
			a, _ := newSessionAuth(t, func(m *scs.SessionManager) { m.Lifetime = lifetime })
			b := browser{}
			signIn(t, a, b, "mxm:1")
			for _, day := range []string{"monday", "tuesday"} {
				serve(a, b, func(w http.ResponseWriter, r *http.Request) {
					if lifetime == 24*time.Hour && day == "monday" {
						a.cfg.Sessions.SetDeadline(r.Context(), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
					}
					a.cfg.Sessions.Put(r.Context(), "day", day)
				})
				user, _ := whoAmI(a, b)
				require.Equal(t, "mxm:1", user, day)
			}
		})
	}
}
