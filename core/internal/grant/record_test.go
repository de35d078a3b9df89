package grant

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/seal"
	"github.com/stretchr/testify/require"
)

// A record is a grant only if it says whose it is, whatever else is in it, and
// what was read is written as it was.
func FuzzGrantRecord(f *testing.F) {
	const sub = "mxm:1"
	for _, seed := range []string{
		`{"base_url":"https://connect.example","client_id":"client","sub":"mxm:1","gen":1,"status":"live","intent":{"id":"i","attempt":1}}`,
		`{"BASE_URL":"https://connect.example","client_id":"client","sub":"mxm:1"}`, `{"sub":"mxm:2"}`,
		`{"base_url":"https://connect.example","client_id":"client","sub":"mxm:1","later":{"x":[1,"<&>"]},"Gen":3,"a":null}`,
		`{"base_url":"https://connect.example","client_id":"client","sub":"mxm:2"}`, `{"base_url":"https://connect.example","client_id":"c","sub":"mxm:1"}`,
		`{"base_url":"https://other.example","client_id":"client","sub":"mxm:1"}`, `{}`, `null`, ``,
	} {
		f.Add([]byte(seed))
	}
	ring, err := seal.New([][]byte{testKey(1)})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, plain []byte) {
		g := &records{store: newMemory(), keys: ring, baseURL: "https://connect.example", clientID: "client"}
		key := g.key(sub)
		require.NoError(t, g.store.CommitGrant(t.Context(), key, "", Record{Data: ring.Seal(grantPurpose, key, plain), Version: "1"}))
		gr, version, found, err := g.find(t.Context(), sub)
		require.True(t, found)
		require.Equal(t, "1", version, "also of what does not open: a login replaces it")
		var whose struct {
			BaseURL  string `json:"base_url"`
			ClientID string `json:"client_id"`
			Sub      string `json:"sub"`
		}
		readable := json.Unmarshal(plain, &whose) == nil
		if err != nil {
			require.NotContains(t, err.Error(), "mxm:")
			return
		}
		require.True(t, readable)
		require.Equal(t, "https://connect.example client mxm:1", whose.BaseURL+" "+whose.ClientID+" "+whose.Sub)
		if gr.Status == statusReconnect { // of which a day later the tokens go
			return
		}
		for _, t := range []time.Time{gr.Issued, gr.Connected, gr.Used, gr.Since} {
			if t.Year() < 0 || t.Year() > 9999 {
				return
			}
		}
		_, err = g.commit(t.Context(), version, gr)
		require.NoError(t, err)
		again, _, _, err := g.find(t.Context(), sub)
		require.NoError(t, err)
		before, err := gr.encode()
		require.NoError(t, err)
		after, err := again.encode()
		require.NoError(t, err)
		require.JSONEq(t, string(before), string(after))
	})
}
