package musixmatch

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// The members of a JSON object are those that encoding/json finds.
func FuzzTopLevel(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { "a" : 1 , "b":"x" } `, `{"a":"\"}{","b":[1,{"c":"]"}],"a":true}`, `{"\u0061\\":-1.5e3,"":null}`,
		"{\"\xff\":\"\xff\"}", `null`, `[{"a":1}]`, `{"a":1}{}`, `{"a":{"b":{}},"c":[]}`, `"{"`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var want map[string]json.RawMessage
		ok := json.Unmarshal(body, &want) == nil && want != nil
		got, whole := topLevel(body)
		require.Equal(t, ok, whole)
		if !ok {
			return
		}
		require.Equal(t, want, got)
		for _, raw := range got {
			var text string
			isString := raw[0] == '"' && json.Unmarshal(raw, &text) == nil
			s, ok := stringField(raw)
			require.Equal(t, isString, ok)
			require.Equal(t, text, s)
		}
	})
}
