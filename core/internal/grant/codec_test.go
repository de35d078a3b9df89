package grant

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
)

// members returns what is stored for sub, as any version of this package reads it.
func members(t *testing.T, m *Manager, sub string) map[string]any {
	t.Helper()
	key := m.records.key(sub)
	rec, found, err := m.records.load(t.Context(), key)
	require.NoError(t, err)
	require.True(t, found)
	plain, err := m.records.keys.Open(grantPurpose, key, rec.Data)
	require.NoError(t, err)
	var all map[string]any
	require.NoError(t, json.Unmarshal(plain, &all))
	return all
}

// What a later version has added stays for as long as the grant, whoever writes
// the record. A login begins another grant, and a disconnect leaves nothing.
func TestUnknownMembersStayWithTheGrant(t *testing.T) {
	tokens := func() musixmatch.Answer {
		return musixmatch.Answer{Tokens: &musixmatch.Tokens{Access: "at2", Refresh: "rt2", Issued: time.Now(), ExpiresIn: time.Hour, Complete: true}}
	}
	s := &fakeServer{
		refresh: func(string) musixmatch.Answer { return tokens() },
		introspect: func(string) (musixmatch.Introspection, error) {
			return musixmatch.Introspection{Active: true, Sub: "mxm:1"}, nil
		},
	}
	m, _ := newTestManager(t, s)
	const later = `{"later":{"a":[1,2],"b":"<&>"},"later_too":null}`
	gr, err := decode([]byte(`{"base_url":"https://connect.example","client_id":"client","sub":"mxm:1","gen":7,"grant_id":"g","status":"live",` +
		`"refresh":"rt","access":"at","Connected":"2026-01-02T03:04:05Z",` + later[1:]))
	require.NoError(t, err)
	require.JSONEq(t, later, gr.Unknown)
	_, err = m.records.commit(t.Context(), "", gr)
	require.NoError(t, err)

	_, err = m.Token(t.Context(), "mxm:1") // an intent, then new tokens
	require.NoError(t, err)
	stored := members(t, m, "mxm:1")
	require.Equal(t, "rt2", stored["refresh"])
	require.Equal(t, map[string]any{"a": []any{1.0, 2.0}, "b": "<&>"}, stored["later"])
	require.Contains(t, stored, "later_too")
	require.Equal(t, "2026-01-02T03:04:05Z", stored["connected"], "a known member, whatever its case, is known")
	require.NotContains(t, stored, "Connected")

	require.NoError(t, m.Put(t.Context(), "mxm:1", tokens().Tokens))
	require.NotContains(t, members(t, m, "mxm:1"), "later")

	gr, version, _, err := m.records.find(t.Context(), "mxm:1")
	require.NoError(t, err)
	gr.Unknown = later
	_, err = m.records.commit(t.Context(), version, gr)
	require.NoError(t, err)
	_, err = m.End(t.Context(), "mxm:1")
	require.NoError(t, err)
	require.NotContains(t, members(t, m, "mxm:1"), "later")
}
