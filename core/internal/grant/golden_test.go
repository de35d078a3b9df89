package grant

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// What a store holds for months is read by every later version. These files are
// what is inside the seal. Do not change them; add new ones.
func TestGoldenRecords(t *testing.T) {
	at := func(minutes int) time.Time {
		return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).Add(time.Duration(minutes) * time.Minute)
	}
	live := grant{
		BaseURL: "https://connect.example", ClientID: "client", Sub: "mxm:1", Generation: 1767323045000, GrantID: "grant-id",
		Access: "access", Refresh: "refresh", Scope: "profile email", Issued: at(60), ExpiryKnown: true, ExpiresIn: time.Hour,
		Status: statusLive, MaxLease: 45 * time.Second, Connected: at(0), Used: at(60), Since: at(0),
	}
	doubt := live
	doubt.NotRotated = true
	doubt.Intent = &intent{ID: "intent-id", Attempt: 2, Lease: 45 * time.Second, Started: at(61), Owner: "host"}
	lost := live
	lost.Status, lost.Reason, lost.Since, lost.Acknowledged = statusReconnect, ReasonRevoked, at(90), loss{"grant-id", live.Generation}
	back := live
	back.Acknowledged = loss{"grant-id-before", live.Generation - 1}
	tombstone := grant{
		BaseURL: live.BaseURL, ClientID: live.ClientID, Sub: live.Sub, Generation: live.Generation + 1, GrantID: live.GrantID,
		Issued: at(100), Status: statusDisconnected, MaxLease: 45 * time.Second,
	}
	moving := live
	moving.Sub, moving.Status, moving.MovedTo = importPrefix+"hash", statusMoving, live.Sub
	imported := tombstone
	imported.Sub, imported.Status, imported.MovedTo = moving.Sub, statusImported, live.Sub
	later := live
	later.Unknown = `{"later":{"a":1}}`
	for name, gr := range map[string]grant{
		"live": live, "in-doubt": doubt, "lost": lost, "back": back, "tombstone": tombstone, "moving": moving, "imported": imported, "later": later,
	} {
		t.Run(name, func(t *testing.T) {
			plain, err := gr.encode()
			require.NoError(t, err)
			golden := goldenFile(t, "grant-"+name, plain)
			read, err := decode(golden)
			require.NoError(t, err)
			require.Equal(t, gr, read)
			require.JSONEq(t, string(golden), string(plain))
		})
	}
	t.Run("claim", func(t *testing.T) {
		want := claim{Holder: "holder", Cursor: "12 grant_x", Done: true, Sweep: Sweep{
			Started: at(0), Took: time.Minute, Live: 1, Reconnect: 2, Disconnected: 3, InDoubt: 4, Unacknowledged: 5,
			Refreshed: 6, Resealed: 7, Forgotten: 8, Failures: 9, OldestRefresh: at(-60),
			OlderKeys: map[string]int{"01020304": 10}, UnknownKeys: map[string]int{"05060708": 11},
		}}
		plain, err := json.Marshal(want)
		require.NoError(t, err)
		golden := goldenFile(t, "claim", plain)
		var read claim
		require.NoError(t, json.Unmarshal(golden, &read))
		require.Equal(t, want, read)
		require.JSONEq(t, string(golden), string(plain))
	})
}

func goldenFile(t *testing.T, name string, plain []byte) []byte {
	t.Helper()
	file := filepath.Join("testdata", name+".json")
	if *update {
		require.NoError(t, os.WriteFile(file, append(plain, '\n'), 0o644))
	}
	golden, err := os.ReadFile(file)
	require.NoError(t, err)
	return golden
}
