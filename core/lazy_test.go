package core

import (
	"encoding/gob"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"
)

// decodes counts how often scs asks for a session to be decoded.
type decodes struct {
	sessionCodec
	count int
}

func (d *decodes) Decode(b []byte) (time.Time, map[string]any, error) {
	d.count++
	return d.sessionCodec.Decode(b)
}

type profile struct{ Name string }

func TestSessionIsDecodedWhenAsked(t *testing.T) {
	a, store := newSessionAuth(t, nil)
	codec := &decodes{}
	a.sessions.Codec = codec
	sm := a.cfg.Sessions
	b := browser{}
	signIn(t, a, b, "mxm:1")
	serve(a, b, func(w http.ResponseWriter, r *http.Request) {
		sm.Put(r.Context(), "theme", "dark")
		sm.Put(r.Context(), "since", time.Unix(1_700_000_000, 0))
	})

	codec.count = 0
	user, _ := whoAmI(a, b)
	require.Equal(t, "mxm:1", user)
	require.Zero(t, codec.count)

	store.finds.Store(0)
	serve(a, b, func(w http.ResponseWriter, r *http.Request) {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if sm.GetString(r.Context(), "theme") != "dark" || UserID(r.Context()) != "mxm:1" {
					t.Error("the session is not what was stored")
				}
			})
		}
		wg.Wait()
		sm.Put(r.Context(), "seen", true)
	})
	require.Equal(t, 1, codec.count)
	require.EqualValues(t, 1, store.finds.Load())

	var keys []string
	serve(a, b, func(w http.ResponseWriter, r *http.Request) { keys = sm.Keys(r.Context()) })
	require.Equal(t, []string{a.sessionKey, "seen", "since", "theme"}, keys, "a change keeps what it did not touch")
}

func TestSessionOfOtherTypesIsDecodedOnce(t *testing.T) {
	a, store := newSessionAuth(t, nil)
	codec := &decodes{}
	a.sessions.Codec = codec
	sm := a.cfg.Sessions
	b := browser{}
	signIn(t, a, b, "mxm:1")
	gob.Register(profile{})
	serve(a, b, func(w http.ResponseWriter, r *http.Request) { sm.Put(r.Context(), "profile", profile{"Ada"}) })

	codec.count = 0
	store.finds.Store(0)
	serve(a, b, func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "mxm:1", UserID(r.Context()))
		require.Equal(t, profile{"Ada"}, sm.Get(r.Context(), "profile"))
	})
	require.Equal(t, 1, codec.count)
	require.EqualValues(t, 1, store.finds.Load())
}

// What a request sees of a session that it has just touched is what was written.
func TestSessionOfOtherTypesIsTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := newSessionAuth(t, func(m *scs.SessionManager) { m.IdleTimeout = time.Hour })
		b := browser{}
		signIn(t, a, b, "mxm:1")
		gob.Register(profile{})
		serve(a, b, func(_ http.ResponseWriter, r *http.Request) {
			a.cfg.Sessions.Put(r.Context(), "profile", profile{"Ada"})
		})
		time.Sleep(30 * time.Minute)
		serve(a, b, func(_ http.ResponseWriter, r *http.Request) {
			st, ok := parseStamp(a.cfg.Sessions.GetString(r.Context(), a.sessionKey))
			require.True(t, ok)
			require.Equal(t, time.Now().UnixMilli(), st.seen)
		})
	})
}

// Where sessions are not read as we would, scs reads them.
func TestSessionsThatScsReads(t *testing.T) {
	for name, change := range map[string]func(*scs.SessionManager){
		"tokens in the clear": func(m *scs.SessionManager) { m.HashTokenInStore = false },
		"another codec":       func(m *scs.SessionManager) { m.Codec = scs.GobCodec{} },
		"no context":          func(m *scs.SessionManager) { m.Store = struct{ scs.Store }{NewMemory()} },
	} {
		t.Run(name, func(t *testing.T) {
			a, _ := newSessionAuth(t, change)
			require.Nil(t, a.contextKey)
			b := browser{}
			signIn(t, a, b, "mxm:1")
			serve(a, b, func(w http.ResponseWriter, r *http.Request) { a.cfg.Sessions.Put(r.Context(), "theme", "dark") })
			user, _ := whoAmI(a, b)
			require.Equal(t, "mxm:1", user)
			theme := ""
			serve(a, b, func(w http.ResponseWriter, r *http.Request) { theme = a.cfg.Sessions.GetString(r.Context(), "theme") })
			require.Equal(t, "dark", theme)
		})
	}
	a, _ := newSessionAuth(t, nil)
	require.NotNil(t, a.contextKey)
}

func TestEmptySessionIsNoSession_R_SE_7(t *testing.T) {
	a, store := newSessionAuth(t, nil)
	b := browser{}
	signIn(t, a, b, "mxm:1")
	require.NoError(t, store.Commit(storeKey(b["__Host-mxm_session"].Value), nil, time.Now().Add(time.Hour)))
	user, _ := whoAmI(a, b)
	require.Empty(t, user)
	require.Empty(t, b, "its cookie is removed, as that of any that cannot be read")
}
