package core_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/nethttpmw"
	"github.com/stretchr/testify/require"
)

// The code is spent when token-metadata is asked, so a server that is behind or
// busy for a moment must not cost the login.
func TestLoginWaitsForTokenMetadata(t *testing.T) {
	for name, tc := range map[string]struct {
		prepare func(*mxmtest.Server)
		status  int
		asked   int
	}{
		"busy once": {func(s *mxmtest.Server) { s.Fail(mxmtest.Metadata, mxmtest.Status(503, "", 0)) }, 303, 2},
		"cut twice": {func(s *mxmtest.Server) { s.Fail(mxmtest.Metadata, mxmtest.DropRequest, mxmtest.Times(2)) }, 303, 3},
		"behind": {func(s *mxmtest.Server) {
			s.Configure(func(c *mxmtest.Settings) { c.BirthLag = 100 * time.Millisecond })
		}, 303, 2},
		"never": {func(s *mxmtest.Server) {
			s.Fail(mxmtest.Metadata, mxmtest.SetField("active", "false"), mxmtest.Always())
		}, 502, 3},
		"not a bool": {func(s *mxmtest.Server) {
			s.Fail(mxmtest.Metadata, mxmtest.SetField("active", `"true"`))
		}, 502, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			musixmatch := mxmtest.NewServer()
			defer musixmatch.Close()
			mux := http.NewServeMux()
			app := httptest.NewServer(mux)
			defer app.Close()
			auth, err := core.New(musixmatch.Config(app.URL))
			require.NoError(t, err)
			nethttpmw.Mount(mux, auth)
			musixmatch.SignInAs("mxm:100000000000000000001")
			tc.prepare(musixmatch)

			jar, err := cookiejar.New(nil)
			require.NoError(t, err)
			client := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, via []*http.Request) error {
				if len(via) > 2 {
					return http.ErrUseLastResponse
				}
				return nil
			}}
			resp, err := client.Get(app.URL + auth.LoginURL(""))
			require.NoError(t, err)
			resp.Body.Close()
			require.Equal(t, tc.status, resp.StatusCode)
			asked := 0
			for _, r := range musixmatch.Requests() {
				if r.Endpoint == mxmtest.Metadata {
					asked++
				}
			}
			require.Equal(t, tc.asked, asked)
		})
	}
}
