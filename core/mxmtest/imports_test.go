package mxmtest_test

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// An application may link the fake into its binary: no test flags, no framework,
// no driver, and of core only the package itself.
func TestDependencies(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	require.NoError(t, err)
	allowed := regexp.MustCompile(`^(github\.com/mxmconnect/mxmconnect/core(/mxmtest|/internal/.*)?|golang\.org/x/(oauth2|sync)(/.*)?|github\.com/alexedwards/scs/v2(/.*)?)$`)
	for _, path := range strings.Fields(string(out)) {
		require.Regexp(t, allowed, path)
	}
	require.Contains(t, string(out), "core/mxmtest")

	out, err = exec.Command("go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	require.NotRegexp(t, `(?m)^(flag|testing|testing/.*|net/http/httptest)$`, string(out))
}
