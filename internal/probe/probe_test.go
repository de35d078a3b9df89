package probe_test

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/internal/pipes"
	"github.com/mxmconnect/mxmconnect/internal/probe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	ada      = "mxm:100000000000000000001"
	redirect = "https://app.example/callback"
)

// serve answers for every host of the network in memory.
func serve(t *testing.T, h http.Handler) *http.Transport {
	network := pipes.Listen()
	server := http.Server{Handler: h}
	go server.Serve(network)
	transport := &http.Transport{DialContext: network.Dial}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
	})
	return transport
}

// start returns a server that signs Ada in without a page, and the options of a
// probe that follows redirects. Call it in a bubble.
func start(t *testing.T, change func(*mxmtest.Settings)) (*mxmtest.Server, probe.Options) {
	srv := mxmtest.NewUnstarted("http://mxm.test")
	t.Cleanup(srv.Close)
	transport := serve(t, srv)
	srv.AddClient(mxmtest.DefaultClientID, mxmtest.DefaultClientSecret, redirect)
	srv.SignInAs(ada)
	if change != nil {
		srv.Configure(change)
	}
	return srv, probe.Options{
		BaseURL: srv.URL, ClientID: mxmtest.DefaultClientID, ClientSecret: mxmtest.DefaultClientSecret, RedirectURL: redirect,
		Transport: transport, SignIn: probe.Follow(transport, redirect), Progress: func(string) {}, Patience: 10 * time.Second,
	}
}

// slow makes the server think about a refresh, as a real one does, so that two can
// meet and a client can hang up in between.
func slow(srv *mxmtest.Server) {
	srv.Fail(mxmtest.Token, mxmtest.SlowRequest(100*time.Millisecond), mxmtest.Grant("refresh_token"), mxmtest.Always())
}

func found(t *testing.T, r *probe.Report) mxmtest.Settings {
	text, err := r.ProfileJSON()
	require.NoError(t, err)
	profile, err := mxmtest.ParseProfile(text)
	require.NoError(t, err)
	s := mxmtest.DefaultSettings()
	profile.Configure(&s)
	return s
}

// The probe finds every policy of the fake. What it finds, written as a profile and
// applied to another fake, gives the same settings. Times are found as bounds.
func TestFindsEverySetting(t *testing.T) {
	for name, c := range map[string]struct {
		set   func(*mxmtest.Settings)
		ask   func(*probe.Options)
		open  []string // what cannot be known, and says so
		times func(t *testing.T, got, want *mxmtest.Settings)
	}{
		"the defaults": {},
		"plain":        {set: func(s *mxmtest.Settings) { s.Reuse = mxmtest.Plain }},
		"per user":     {set: func(s *mxmtest.Settings) { s.Kill = mxmtest.PerUser }},
		"kills none":   {set: func(s *mxmtest.Settings) { s.Kill = mxmtest.KillNone }, open: []string{"death"}},
		"no rotation":  {set: func(s *mxmtest.Settings) { s.NoRotation = true }, open: []string{"reuse", "grace", "loser"}},
		"single login": {set: func(s *mxmtest.Settings) { s.SingleLogin = true }, open: []string{"user"}},
		"issuer":       {set: func(s *mxmtest.Settings) { s.Issuer = true }},
		"revocation":   {set: func(s *mxmtest.Settings) { s.Revocation = true }},
		"no date":      {set: func(s *mxmtest.Settings) { s.NoDate = true }},
		"another clock": {set: func(s *mxmtest.Settings) { s.DateSkew = time.Hour }, times: func(t *testing.T, got, want *mxmtest.Settings) {
			require.InDelta(t, want.DateSkew, got.DateSkew, float64(3*time.Second))
			got.DateSkew = want.DateSkew
		}},
		"no expires_in":           {set: func(s *mxmtest.Settings) { s.NoExpiresIn = true }},
		"ten minutes":             {set: func(s *mxmtest.Settings) { s.AccessLifetime = 10 * time.Minute }},
		"loser":                   {set: func(s *mxmtest.Settings) { s.LoserInvalidRequest = true }},
		"loser of the gentle":     {set: func(s *mxmtest.Settings) { s.LoserInvalidRequest, s.Reuse = true, mxmtest.Plain }},
		"forgets":                 {set: func(s *mxmtest.Settings) { s.ForgetsCut = true }},
		"metadata wants a secret": {set: func(s *mxmtest.Settings) { s.MetadataAuth = true }},
		"late at birth": {set: func(s *mxmtest.Settings) { s.BirthLag = 3 * time.Second }, times: func(t *testing.T, got, want *mxmtest.Settings) {
			require.GreaterOrEqual(t, got.BirthLag, want.BirthLag)
			require.Less(t, got.BirthLag, want.BirthLag+time.Second)
			got.BirthLag = want.BirthLag
		}},
		"late at death": {set: func(s *mxmtest.Settings) { s.DeathLag = 3 * time.Second }, times: func(t *testing.T, got, want *mxmtest.Settings) {
			require.GreaterOrEqual(t, got.DeathLag, want.DeathLag)
			require.Less(t, got.DeathLag, want.DeathLag+time.Second)
			got.DeathLag = want.DeathLag
		}},
		"late, and per user": {set: func(s *mxmtest.Settings) { s.DeathLag, s.Kill = 3*time.Second, mxmtest.PerUser }, times: func(_ *testing.T, got, want *mxmtest.Settings) {
			got.DeathLag = want.DeathLag
		}},
		"grace, same pair":                {set: grace(mxmtest.SamePair, mxmtest.RevokeFamily), ask: askGrace, times: graceTimes, open: []string{"loser"}},
		"grace, new pair":                 {set: grace(mxmtest.NewPair, mxmtest.RevokeFamily), ask: askGrace, times: graceTimes, open: []string{"loser"}},
		"grace, another pair":             {set: grace(mxmtest.AnotherPair, mxmtest.RevokeFamily), ask: askGrace, times: graceTimes, open: []string{"loser"}},
		"grace, new pair, and gentle":     {set: grace(mxmtest.NewPair, mxmtest.Plain), ask: askGrace, times: graceTimes, open: []string{"loser"}},
		"grace, another pair, and gentle": {set: grace(mxmtest.AnotherPair, mxmtest.Plain), ask: askGrace, times: graceTimes, open: []string{"loser"}},
		"a limit": {
			set: func(s *mxmtest.Settings) { s.MetadataCalls, s.MetadataWindow = 8, 30*time.Second },
			ask: func(o *probe.Options) { o.Rate = true },
		},
		"no limit": {ask: func(o *probe.Options) { o.Rate = true }},
		"codes": {
			set: func(s *mxmtest.Settings) { s.CodeLifetime = 45 * time.Second },
			ask: func(o *probe.Options) { o.Codes = 10 * time.Minute },
			times: func(t *testing.T, got, want *mxmtest.Settings) {
				require.Greater(t, got.CodeLifetime, want.CodeLifetime/2)
				require.LessOrEqual(t, got.CodeLifetime, want.CodeLifetime)
				got.CodeLifetime = want.CodeLifetime
			},
		},
		"all at once": {
			set: func(s *mxmtest.Settings) {
				s.Reuse, s.Kill, s.LoserInvalidRequest, s.Issuer, s.Revocation, s.ForgetsCut = mxmtest.Plain, mxmtest.PerUser, true, true, true, true
				s.MetadataAuth, s.DeathLag, s.AccessLifetime = true, 2*time.Second, 20*time.Minute
			},
			times: func(_ *testing.T, got, want *mxmtest.Settings) { got.DeathLag = want.DeathLag },
		},
	} {
		test(t, name, func(t *testing.T) {
			srv, o := start(t, c.set)
			slow(srv)
			if c.ask != nil {
				c.ask(&o)
			}
			report, err := probe.Run(t.Context(), o)
			require.NoError(t, err)
			var text strings.Builder
			require.NoError(t, report.Write(&text))

			want := mxmtest.DefaultSettings()
			if c.set != nil {
				c.set(&want)
			}
			got := found(t, report)
			if c.times != nil {
				c.times(t, &got, &want)
			}
			require.Equal(t, want, got, text.String())
			for _, q := range probe.Questions {
				f, known := report.Findings[q.Key]
				require.True(t, known, q.Key)
				asked := f.How != ""
				if q.Key == "rate" && !o.Rate || q.Key == "code" && o.Codes == 0 {
					require.Contains(t, f.Answer, "not measured: it was not asked for")
					continue
				}
				require.Equal(t, !slices.Contains(c.open, q.Key), asked, "%s: %s", q.Text, f.Answer)
			}
			secrets(t, srv, text.String())
		})
	}
}

// test runs a part of a table on virtual time.
func test(t *testing.T, name string, f func(*testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

func grace(answer mxmtest.GraceAnswer, reuse mxmtest.ReusePolicy) func(*mxmtest.Settings) {
	return func(s *mxmtest.Settings) { s.Grace, s.GraceAnswer, s.Reuse = 30*time.Second, answer, reuse }
}

func askGrace(o *probe.Options) { o.Grace = 2 * time.Minute }

func graceTimes(t *testing.T, got, want *mxmtest.Settings) {
	require.Greater(t, got.Grace, want.Grace*3/4)
	require.LessOrEqual(t, got.Grace, want.Grace)
	got.Grace = want.Grace
}

// secrets fails if a text holds anything that nobody may see.
func secrets(t *testing.T, srv *mxmtest.Server, text string) {
	t.Helper()
	require.NotContains(t, text, mxmtest.DefaultClientSecret)
	for _, r := range srv.Requests() {
		for _, secret := range []string{r.Token, r.Form.Get("code_verifier"), r.Query.Get("state"), r.Query.Get("code_challenge")} {
			if secret != "" {
				require.NotContains(t, text, secret, fmt.Sprint(r.Endpoint))
			}
		}
	}
}

// Each question's line stands in the page that the report names.
func TestLinesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/server.md")
	require.NoError(t, err)
	for _, q := range probe.Questions {
		require.Contains(t, string(page), "\n| "+q.Line+" |")
	}
	require.Equal(t, len(probe.Questions), strings.Count(string(page), "\n| ")-1, "a line that nothing measures")
}
