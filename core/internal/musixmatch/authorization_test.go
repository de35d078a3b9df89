package musixmatch

import (
	"crypto/sha256"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadAuthorizationResponse(t *testing.T) {
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
		_, err := ReadAuthorizationResponse(query)
		require.Equal(t, ok, err == nil, "%.40q: %v", query, err)
	}
}

// An answer that is accepted says one thing only, and every reader of the
// query would have read the same.
func FuzzAuthorizationResponse(f *testing.F) {
	for _, seed := range []string{"code=c&state=s", "error=access_denied&state=s&iss=i", "code=c&code=d&state=s", "code=%63&state=s", "c%6fde=c&state=s&code=d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		a, err := ReadAuthorizationResponse(query)
		if err != nil {
			require.NotContains(t, err.Error(), "canary")
			return
		}
		values, err := url.ParseQuery(query)
		require.NoError(t, err)
		require.Equal(t, []string{a.State}, values["state"])
		require.NotEqual(t, a.code == "", a.errorCode == "")
		for name, got := range map[string]string{"code": a.code, "error": a.errorCode, "iss": a.iss} {
			require.LessOrEqual(t, len(values[name]), 1)
			require.Equal(t, values.Get(name), got)
		}
	})
}

// Only an answer to the browser's own attempt, from the expected issuer, can be
// exchanged.
func TestCheck(t *testing.T) {
	sum := sha256.Sum256([]byte("s"))
	for _, tc := range []struct {
		query    string
		endpoint Endpoint
		state    []byte
		want     error
	}{
		{"code=c&state=s", Endpoint{}, sum[:], nil},
		{"code=c&state=s", Endpoint{}, nil, ErrState},
		{"code=c&state=t", Endpoint{}, sum[:], ErrState},
		{"code=c&state=s&iss=i", Endpoint{}, sum[:], nil},
		{"code=c&state=s&iss=i", Endpoint{Issuer: "i"}, sum[:], nil},
		{"code=c&state=s", Endpoint{Issuer: "i"}, sum[:], nil},
		{"code=c&state=s&iss=j", Endpoint{Issuer: "i"}, sum[:], ErrIssuer},
		{"code=c&state=s", Endpoint{Issuer: "i", IssRequired: true}, sum[:], ErrIssuer},
		{"error=access_denied&state=s", Endpoint{}, sum[:], ErrAccessDenied},
		{"error=access_denied&state=t", Endpoint{}, sum[:], ErrState},
		{"error=server_error&state=s", Endpoint{}, sum[:], ErrAuthorization},
		{"error=server_error&state=s&iss=j", Endpoint{Issuer: "i"}, sum[:], ErrIssuer},
	} {
		r, err := ReadAuthorizationResponse(tc.query)
		require.NoError(t, err)
		checked, err := New(Options{Endpoint: tc.endpoint, Clock: SystemClock()}).Check(r, tc.state, "v")
		require.ErrorIs(t, err, tc.want, "%s %+v", tc.query, tc.endpoint)
		require.Equal(t, tc.want == nil, checked == CheckedResponse{"c", "v"}, tc.query)
	}
}
