package main_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/internal/doctor"
)

func TestDoctor(t *testing.T) {
	srv := mxmtest.NewServer()
	defer srv.Close()
	cfg := srv.Config("http://127.0.0.1:1")
	for variable, value := range map[string]string{
		"MXM_BASE_URL": srv.URL, "MXM_CLIENT_ID": cfg.ClientID, "MXM_CLIENT_SECRET": cfg.ClientSecret, "MXM_REDIRECT_URL": cfg.RedirectURL,
		"MXM_API_URL": "", "MXM_STORE": "", "MXM_KEYS": "", "MXM_REFRESH_TIMEOUT": "", "ADDR": "",
	} {
		t.Setenv(variable, value)
	}
	status, out, problems := run(t, "doctor")
	require.Equal(t, 0, status, out)
	require.Empty(t, problems)
	require.Regexp(t, `(?m)^ok       secret          POST http://127.0.0.1:\d+/oauth/token .*client ID and secret are right\.$`, out)

	t.Setenv("MXM_CLIENT_SECRET", "guess")
	status, out, _ = run(t, "doctor", "-json")
	require.Equal(t, 1, status)
	var findings []doctor.Finding
	require.NoError(t, json.Unmarshal([]byte(out), &findings))
	verdicts := map[string]doctor.Verdict{}
	for _, f := range findings {
		verdicts[f.Check] = f.Verdict
	}
	require.Equal(t, doctor.Wrong, verdicts["secret"])
	require.Equal(t, doctor.OK, verdicts["redirect URL"])

	_, text, _ := run(t, "doctor")
	require.Equal(t, len(findings), strings.Count(text, "\n"), "one line per check")
	require.NotContains(t, out+text, "guess")
}
