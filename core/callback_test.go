package core

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadAnswer_R_CB_2(t *testing.T) {
	for query, ok := range map[string]bool{
		"code=c&state=s":                 true,
		"code=c&state=s&iss=i":           true,
		"error=access_denied&state=s":    true,
		"code=c&state=s&session_state=x": true, // unknown ones are ignored, even twice
		"x=1&x=2&code=c&state=s":         true,
		"":                               false,
		"code=c":                         false,
		"state=s":                        false,
		"code=c&state=":                  false,
		"code=&state=s":                  false,
		"code=c&code=c&state=s":          false,
		"code=c&state=s&state=s":         false,
		"code=c&state=s&iss=a&iss=a":     false,
		"code=c&state=s&iss=":            false,
		"error=x&error=x&state=s":        false,
		"code=c&error=x&state=s":         false,
		"code=c&state=s;x=y":             false,
		"code=%zz&state=s":               false,
		"code=c&state=" + strings.Repeat("s", maxStateSize+1): false,
		"state=s&code=" + strings.Repeat("c", maxCodeSize+1):  false,
	} {
		_, err := readAnswer(query)
		require.Equal(t, ok, err == nil, "%.40q: %v", query, err)
	}
}

// An answer that is accepted says one thing only, and every reader of the
// query would have read the same.
func FuzzReadAnswer(f *testing.F) {
	for _, seed := range []string{"code=c&state=s", "error=access_denied&state=s&iss=i", "code=c&code=d&state=s", "code=%63&state=s", "c%6fde=c&state=s&code=d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		a, err := readAnswer(query)
		if err != nil {
			require.NotContains(t, err.Error(), "canary")
			return
		}
		values, err := url.ParseQuery(query)
		require.NoError(t, err)
		require.Equal(t, []string{a.state}, values["state"])
		require.NotEqual(t, a.code == "", a.refusal == "")
		for name, got := range map[string]string{"code": a.code, "error": a.refusal, "iss": a.iss} {
			require.LessOrEqual(t, len(values[name]), 1)
			require.Equal(t, values.Get(name), got)
		}
	})
}
