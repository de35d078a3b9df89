package session_test

import (
	"encoding/gob"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

// decodes counts how often scs asks for a session to be decoded.
type decodes struct {
	session.Codec
	count atomic.Int32
}

func (d *decodes) Decode(b []byte) (time.Time, map[string]any, error) {
	d.count.Add(1)
	return d.Codec.Decode(b)
}

type profile struct{ Name string }

func TestSessionIsDecodedWhenAsked(t *testing.T) {
	m, store := newManager(nil)
	codec := &decodes{}
	m.Served().Codec = codec
	sm := m.scs
	b := browser{}
	signIn(t, m, b, "mxm:1")
	serve(m, b, func(w http.ResponseWriter, r *http.Request) {
		sm.Put(r.Context(), "theme", "dark")
		sm.Put(r.Context(), "since", time.Unix(1_700_000_000, 0))
	})

	codec.count.Store(0)
	user, _ := whoAmI(m, b)
	require.Equal(t, "mxm:1", user)
	require.Zero(t, codec.count.Load())

	store.finds.Store(0)
	serve(m, b, func(w http.ResponseWriter, r *http.Request) {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if sm.GetString(r.Context(), "theme") != "dark" || session.UserID(r.Context()) != "mxm:1" {
					t.Error("the session is not what was stored")
				}
			})
		}
		wg.Wait()
		sm.Put(r.Context(), "seen", true)
	})
	require.Positive(t, codec.count.Load(), "and once more where several ask at the same moment: no lock is held meanwhile")
	require.EqualValues(t, 1, store.finds.Load())

	var keys []string
	serve(m, b, func(w http.ResponseWriter, r *http.Request) { keys = sm.Keys(r.Context()) })
	require.ElementsMatch(t, []string{key, "seen", "since", "theme"}, keys, "a change keeps what it did not touch")
}

func TestSessionOfOtherTypesIsDecodedOnce(t *testing.T) {
	m, store := newManager(nil)
	codec := &decodes{}
	m.Served().Codec = codec
	sm := m.scs
	b := browser{}
	signIn(t, m, b, "mxm:1")
	gob.Register(profile{})
	serve(m, b, func(w http.ResponseWriter, r *http.Request) { sm.Put(r.Context(), "profile", profile{"Ada"}) })

	codec.count.Store(0)
	store.finds.Store(0)
	serve(m, b, func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "mxm:1", session.UserID(r.Context()))
		require.Equal(t, profile{"Ada"}, sm.Get(r.Context(), "profile"))
	})
	require.EqualValues(t, 1, codec.count.Load())
	require.EqualValues(t, 1, store.finds.Load())
}

// What a request sees of a session that it has just touched is what was written.
func TestSessionOfOtherTypesIsTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _ := newManager(func(m *scs.SessionManager) { m.IdleTimeout = time.Hour })
		b := browser{}
		signIn(t, m, b, "mxm:1")
		gob.Register(profile{})
		serve(m, b, func(_ http.ResponseWriter, r *http.Request) {
			m.scs.Put(r.Context(), "profile", profile{"Ada"})
		})
		time.Sleep(30 * time.Minute)
		serve(m, b, func(_ http.ResponseWriter, r *http.Request) {
			st, ok := session.ParseSignIn(m.scs.GetString(r.Context(), key))
			require.True(t, ok)
			require.Equal(t, time.Now().UnixMilli(), st.LastSeen())
		})
	})
}

// Where sessions are not read as we would, scs reads them.
func TestSessionsThatScsReads(t *testing.T) {
	for name, change := range map[string]func(*scs.SessionManager){
		"tokens in the clear": func(m *scs.SessionManager) { m.HashTokenInStore = false },
		"another codec":       func(m *scs.SessionManager) { m.Codec = scs.GobCodec{} },
		"no context":          func(m *scs.SessionManager) { m.Store = struct{ scs.Store }{core.NewMemory()} },
	} {
		t.Run(name, func(t *testing.T) {
			m, _ := newManager(change)
			require.False(t, m.Lazy())
			b := browser{}
			signIn(t, m, b, "mxm:1")
			serve(m, b, func(w http.ResponseWriter, r *http.Request) { m.scs.Put(r.Context(), "theme", "dark") })
			user, _ := whoAmI(m, b)
			require.Equal(t, "mxm:1", user)
			theme := ""
			serve(m, b, func(w http.ResponseWriter, r *http.Request) { theme = m.scs.GetString(r.Context(), "theme") })
			require.Equal(t, "dark", theme)
		})
	}
	m, _ := newManager(nil)
	require.True(t, m.Lazy())
}

func TestEmptySessionIsNoSession(t *testing.T) {
	m, store := newManager(nil)
	b := browser{}
	signIn(t, m, b, "mxm:1")
	require.NoError(t, store.Commit(session.StoreKey(b["__Host-Http-mxm_session"].Value), nil, time.Now().Add(time.Hour)))
	user, _ := whoAmI(m, b)
	require.Empty(t, user)
	require.Empty(t, b, "its cookie is removed, as that of any that cannot be read")
}
