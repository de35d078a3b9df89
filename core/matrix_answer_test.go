package core_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// What happens to the answer of the token endpoint.
var answerFaults = []fault{
	{"answer lost (timeout, reset, proxy 502, stale keep-alive EOF), server did not commit", answerLost(map[string]mxmtest.Fault{
		"reset":             mxmtest.DropRequest,
		"502":               mxmtest.HTML(502),
		"503":               mxmtest.Status(503, "", 20*time.Second),
		"429":               mxmtest.Status(429, `{"error":"temporarily_unavailable"}`, 0),
		"html 200":          mxmtest.HTML(200),
		"empty json":        mxmtest.Status(200, `{}`, 0),
		"redirect":          mxmtest.Redirect(307, "http://127.0.0.1/oauth/token"),
		"400":               mxmtest.Status(400, `{"error":"invalid_request"}`, 0),
		"418":               mxmtest.Status(418, `{"error":"invalid_grant_not_really"}`, 0),
		"500 invalid_grant": mxmtest.Status(500, `{"error":"invalid_grant"}`, 0),
		"timeout":           mxmtest.Chain(mxmtest.SlowRequest(timeout+time.Second), mxmtest.DropRequest),
	})},
	{"the same, server committed", tests{
		"strict": func(t *testing.T, w *world) { answerLostAfterCommit(t, w, mxmtest.DropResponse) },
		"502": func(t *testing.T, w *world) {
			answerLostAfterCommit(t, w, mxmtest.AfterCommit(mxmtest.Status(502, "", 0)))
		},
		"never answered": func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.SlowResponse(time.Hour))
			a.TokenSource(t.Context(), alice).Token()
			b.TokenSource(t.Context(), alice).Token()
			time.Sleep(3*timeout + 3*settle + time.Second)
			w.lost("lost_response", 2, a, b)
		},
		"answered a second after RefreshTimeout":                   func(t *testing.T, w *world) { answeredLate(t, w, timeout+time.Second, nil) },
		"answered after a lease":                                   func(t *testing.T, w *world) { answeredLate(t, w, lease+time.Second, nil) },
		"answered after three times RefreshTimeout, less a second": func(t *testing.T, w *world) { answeredLate(t, w, 3*timeout-time.Second, nil) },
		"answered late, token-metadata is away meanwhile": func(t *testing.T, w *world) {
			answeredLate(t, w, 3*timeout-time.Second, func() {
				time.AfterFunc(timeout+time.Second, func() { w.srv.Fail(mxmtest.Metadata, mxmtest.Status(503, "", 0), mxmtest.Always()) })
				time.AfterFunc(3*timeout, w.srv.ClearFaults)
			})
		},
		"answered late, the old token has ended by itself": func(t *testing.T, w *world) {
			answeredLate(t, w, 3*timeout-time.Second, func() { time.Sleep(40 * time.Second) })
		},
		"grace": func(t *testing.T, w *world) {
			w.srv.Configure(func(s *mxmtest.Settings) { s.Grace = 5 * time.Minute })
			a, b := w.start(), w.start()
			w.signIn(a)
			untilDue()
			w.srv.Fail(mxmtest.Token, mxmtest.DropResponse)
			a.TokenSource(t.Context(), alice).Token()
			time.Sleep(3*settle + time.Second)
			a.token(t)
			require.Equal(t, a.token(t), b.token(t))
			require.Len(t, w.refreshes(), 2)
			require.Equal(t, w.life().AccessToken, a.token(t))
			require.Empty(t, a.kinds(core.EventReconnect))
		},
	}},
	{"200 with odd expires_in, token_type, missing fields", odd(map[string]mxmtest.Fault{
		"expires_in text":    mxmtest.SetField("expires_in", `"soon"`),
		"expires_in float":   mxmtest.SetField("expires_in", `3600.0`),
		"expires_in bool":    mxmtest.SetField("expires_in", `true`),
		"expires_in missing": mxmtest.DropField("expires_in"),
		"token_type":         mxmtest.SetField("token_type", `"mac"`),
		"token_type missing": mxmtest.DropField("token_type"),
		"scope missing":      mxmtest.DropField("scope"),
		"scope reduced":      mxmtest.SetField("scope", `"profile"`),
		"content type":       mxmtest.ContentType("text/plain"),
		"trailing data":      mxmtest.Trailing("garbage"),
		"huge":               mxmtest.Huge(1 << 20),
		"cut after the tokens": func(x *mxmtest.Exchange) {
			x.Commit()
			x.CutAt(len(x.Response.Body) - 1)
		},
	})},
	{"200 truncated inside the RT", tests{
		"": func(t *testing.T, w *world) { answerLostAfterCommit(t, w, mxmtest.Truncated) },
	}},
}

func answerLost(faults map[string]mxmtest.Fault) tests {
	all := tests{}
	for name, fault := range faults {
		all[name] = func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			first := a.token(t)
			untilDue()
			w.srv.Fail(mxmtest.Token, fault)
			require.Equal(t, first, a.token(t)) // while it lives
			time.Sleep(2*lease + 2*settle)
			second := a.token(t)
			require.NotEqual(t, first, second)
			require.Equal(t, second, b.token(t))
			w.unharmed(2, a, b)
		}
	}
	return all
}

func answerLostAfterCommit(t *testing.T, w *world, fault mxmtest.Fault) {
	a, b := w.start(), w.start()
	w.signIn(a)
	untilDue()
	w.srv.Fail(mxmtest.Token, fault)
	a.TokenSource(t.Context(), alice).Token()
	b.TokenSource(t.Context(), alice).Token()
	time.Sleep(timeout + 3*settle + time.Second)
	w.lost("lost_response", 2, a, b) // the second is the holder's one replay
}

// answeredLate is an answer that nobody waits for any more but the instance whose
// it is. Another one is asked for the token all the while.
func answeredLate(t *testing.T, w *world, after time.Duration, prepare func()) {
	a, b := w.start(), w.start()
	w.signIn(a)
	first := a.token(t)
	untilDue()
	if prepare != nil {
		prepare()
	}
	w.srv.Fail(mxmtest.Token, mxmtest.SlowResponse(after))
	a.TokenSource(t.Context(), alice).Token()
	for end := time.Now().Add(after); time.Now().Before(end); time.Sleep(time.Second) {
		b.TokenSource(t.Context(), alice).Token()
	}
	time.Sleep(settle)
	require.NotEqual(t, first, b.token(t))
	w.unharmed(1, a, b)
	w.agree(a, b)
}

func odd(faults map[string]mxmtest.Fault) tests {
	all := tests{}
	for name, fault := range faults {
		all[name] = func(t *testing.T, w *world) {
			a, b := w.start(), w.start()
			w.signIn(a)
			first := a.token(t)
			untilDue()
			w.srv.Fail(mxmtest.Token, fault)
			second := a.token(t)
			require.NotEqual(t, first, second)
			require.Equal(t, second, b.token(t))
			w.unharmed(1, a, b)
			require.Empty(t, a.kinds(core.EventRefreshFailed))
		}
	}
	return all
}
