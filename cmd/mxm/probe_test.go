package main_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	mxm "github.com/mxmconnect/mxmconnect/cmd/mxm"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// probed is a server to probe, by the environment, and where the profile goes.
func probed(t *testing.T, redirectURL string) (srv *mxmtest.Server, profile string) {
	srv = mxmtest.NewServer()
	t.Cleanup(srv.Close)
	srv.AddClient(mxmtest.DefaultClientID, mxmtest.DefaultClientSecret, redirectURL)
	srv.SignInAs("mxm:100000000000000000001")
	srv.Configure(func(s *mxmtest.Settings) { s.Reuse, s.Kill, s.Issuer = mxmtest.Plain, mxmtest.PerUser, true })
	for variable, value := range map[string]string{
		"MXM_BASE_URL": srv.URL, "MXM_CLIENT_ID": mxmtest.DefaultClientID, "MXM_CLIENT_SECRET": mxmtest.DefaultClientSecret,
		"MXM_REDIRECT_URL": redirectURL, "MXM_API_URL": "",
	} {
		t.Setenv(variable, value)
	}
	return srv, filepath.Join(t.TempDir(), "profile.json")
}

// wellProbed checks what a probe has left: a profile with what it has found, which
// a fake replays, and no secret in what it has said.
func wellProbed(t *testing.T, srv *mxmtest.Server, status int, said, profile string) {
	t.Helper()
	require.Equal(t, 0, status, said)
	text, err := os.ReadFile(profile)
	require.NoError(t, err)
	p, err := mxmtest.ParseProfile(text)
	require.NoError(t, err)
	got := mxmtest.DefaultSettings()
	p.Configure(&got)
	require.Equal(t, []any{mxmtest.Plain, mxmtest.PerUser, true}, []any{got.Reuse, got.Kill, got.Issuer})
	require.Regexp(t, `Does a replay end the whole login\? +no: `, said)
	require.Contains(t, said, "Issuer: \""+srv.URL+`"`)
	for _, r := range srv.Requests() {
		for _, secret := range []string{r.Token, r.Form.Get("code_verifier"), r.Query.Get("state"), mxmtest.DefaultClientSecret} {
			if secret != "" {
				require.NotContains(t, said+string(text), secret)
			}
		}
	}
}

func TestProbeFollows(t *testing.T) {
	srv, profile := probed(t, "https://app.example/callback")
	status, out, problems := run(t, "probe", "-follow", "-yes", mxmtest.DefaultClientID, "-profile", profile)
	wellProbed(t, srv, status, out+problems, profile)

	_, base := startFake(t, "-profile", profile)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(base + "/.well-known/oauth-authorization-server")
	require.NoError(t, err)
	defer resp.Body.Close()
	var doc map[string]any
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&doc))
	require.Equal(t, true, doc["authorization_response_iss_parameter_supported"], "the fake replays the profile")
}

// Nothing is sent before the client ID is typed.
func TestProbeAsks(t *testing.T) {
	for _, typed := range []string{"", "\n", "yes\n"} {
		srv, profile := probed(t, "https://app.example/callback")
		var out, problems strings.Builder
		status := mxm.Run(t.Context(), []string{"probe", "-follow", "-profile", profile}, strings.NewReader(typed), &out, &problems)
		require.Equal(t, 1, status)
		require.Contains(t, out.String(), "up to 5 sign-ins")
		require.Contains(t, out.String(), "It may end every connection of that user under this client.")
		require.Contains(t, problems.String(), "client ID")
		require.Empty(t, srv.Requests())
		require.NoFileExists(t, profile)
	}
	status, _, _ := run(t, "probe", "-yes", "another", "-profile", "x")
	require.Equal(t, 1, status)
}

// A browser opens one address, and the pages lead it through all sign-ins. An
// answer that belongs to no sign-in is not taken.
func TestProbeWithABrowser(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	srv, profile := probed(t, "http://"+l.Addr().String()+"/callback")
	said := &talk{}
	done := make(chan int)
	go func() {
		done <- mxm.Run(t.Context(), []string{"probe", "-profile", profile}, strings.NewReader(mxmtest.DefaultClientID+"\n"), said, said)
	}()
	start := said.await(t, `Open (http://\S+) in a browser`)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	browser := http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}}
	stray, err := http.DefaultTransport.RoundTrip(httptest.NewRequest(http.MethodGet, start+"callback?state=guess&code=stolen", nil))
	require.NoError(t, err)
	stray.Body.Close()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	for {
		page, err := browser.Get(start) // what the page's refresh does
		require.NoError(t, err)
		text, err := io.ReadAll(page.Body)
		require.NoError(t, err)
		page.Body.Close()
		if !strings.Contains(string(text), `http-equiv="refresh"`) {
			require.Contains(t, string(text), "The probe is over")
			break
		}
	}
	wellProbed(t, srv, <-done, said.String(), profile)
}

// With -paste the redirect URL may be anywhere. What is pasted by mistake is asked
// for again.
func TestProbeByPaste(t *testing.T) {
	srv, profile := probed(t, "https://app.example/callback")
	said := &talk{}
	in, typing := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- mxm.Run(t.Context(), []string{"probe", "-paste", "-yes", mxmtest.DefaultClientID, "-profile", profile}, in, said, said)
		in.Close()
	}()
	start := said.await(t, `Open (http://\S+) in a browser`)
	browser := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if r.URL.Host == "app.example" {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	_, err := io.WriteString(typing, "https://app.example/other?code=x\n")
	for signIn := 1; err == nil; signIn++ {
		require.Eventually(t, func() bool {
			return len(done) > 0 || strings.Count(said.String(), "paste the address of the page where you arrive: ") > signIn
		}, 30*time.Second, 5*time.Millisecond)
		if len(done) > 0 {
			break
		}
		var page *http.Response
		page, err = browser.Get(start)
		require.NoError(t, err)
		page.Body.Close()
		_, err = io.WriteString(typing, page.Header.Get("Location")+"\n")
	}
	wellProbed(t, srv, <-done, said.String(), profile)
	require.Contains(t, said.String(), "this is not the redirect URL")
}

// talk is what a command says, for a test that answers.
type talk struct {
	mu   sync.Mutex
	text strings.Builder
}

func (t *talk) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(p)
}

func (t *talk) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// await returns what a pattern's group matches once it is said.
func (t *talk) await(test *testing.T, pattern string) (match string) {
	re := regexp.MustCompile(pattern)
	require.Eventually(test, func() bool {
		m := re.FindStringSubmatch(t.String())
		if m == nil {
			return false
		}
		match = m[1]
		return true
	}, 30*time.Second, 5*time.Millisecond)
	return match
}
