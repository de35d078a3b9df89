package session_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

// For any header that a browser can send, our reader of cookies finds what
// net/http's finds, and never fewer of a name: a second one was planted.
func FuzzCookieHeader(f *testing.F) {
	for _, seed := range []string{"s=v", "a=b; s=v", "s=v; s=w", "s=v;s=w", ` s = v`, `s="v"`, "xs=v; s", "s==", ";;s=v;"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if strings.ContainsAny(header, "\r\n") {
			return // no header holds a line end
		}
		for part := range strings.SplitSeq(header, ";") {
			if name, _, ok := strings.Cut(part, "="); !ok || name != strings.TrimRight(name, " \t") {
				return // browsers trim names when they store them, and write every "="
			}
		}
		r := &http.Request{Header: http.Header{"Cookie": {header}}}
		value, found := session.CookieValue(r, "s")
		theirs := r.CookiesNamed("s")
		require.GreaterOrEqual(t, found, len(theirs))
		if found == 1 && len(theirs) == 1 && !strings.Contains(header, `"`) {
			require.Equal(t, theirs[0].Value, value)
		}
	})
}

// What is read of a sign-in is what was written.
func FuzzSignIn(f *testing.F) {
	for _, seed := range []string{session.NewSignIn("mxm:1", 1, 2).String(), "", "1 2", "1 2 ", "-1 zz mxm:1 x", "+1 1 u", "9999999999999999 1 u"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		st, ok := session.ParseSignIn(text)
		if !ok {
			return
		}
		require.NotEmpty(t, st.User())
		require.True(t, strings.HasSuffix(text, " "+st.User()))
		again, ok := session.ParseSignIn(st.String())
		require.True(t, ok)
		require.Equal(t, st, again)
	})
}
