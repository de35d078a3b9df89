package adaptertest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

var callbackCases = []testCase{
	{"success", "a callback signs in, clears its cookie and redirects by 303 to a clean URL", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{})
		b := s.browser()
		a := b.visit(b.begin("/page?x=1"))
		redirected(t, "callback", a, "/page?x=1")
		private(t, "callback", a)
		equal(t, "cookies set", len(a.cookies), 2)
		equal(t, "attempts left", len(flowCookies(b.jar())), 0)
		equal(t, "user", b.user(), alice)
		equal(t, "codes exchanged", s.exchanges(), 1)
		redirected(t, "without return_to", s.browser().signIn(), "/welcome")
	}},
	{"malformed", "duplicated, empty, missing or contradictory parameters are refused before any call, and cost the attempt nothing", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{})
		b := s.browser()
		callback := b.begin("/page")
		code, state := query(callback, "code"), query(callback, "state")
		for what, target := range map[string]string{
			"code twice":     changed(callback, "code", code, code),
			"state twice":    changed(callback, "state", state, state),
			"empty code":     changed(callback, "code", ""),
			"empty state":    changed(callback, "state", ""),
			"empty error":    changed(callback, "error", ""),
			"code and error": changed(callback, "error", "access_denied"),
			"no code":        changed(callback, "code"),
			"no state":       changed(callback, "state"),
			"iss twice":      changed(callback, "iss", "a", "b"),
			"nothing":        mxmtest.CallbackPath,
			"bad escape":     mxmtest.CallbackPath + "?code=%zz&state=" + state,
		} {
			refused(t, what, b.visit(target), http.StatusBadRequest, "bad_request")
		}
		equal(t, "codes exchanged", s.exchanges(), 0)
		redirected(t, "the real one, with a parameter nobody knows", b.visit(changed(callback, "extra", "1")), "/page")
	}},
	{"forged state", "a state that this browser did not begin is refused before any call", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{})
		attacker, victim := s.browser(), s.browser()
		callback := attacker.begin("")
		victim.begin("")
		refused(t, "the attacker's callback in the victim's browser", victim.visit(callback), http.StatusBadRequest, "bad_state")
		refused(t, "a made-up state", victim.visit(changed(callback, "state", "made-up")), http.StatusBadRequest, "bad_state")
		refused(t, "a made-up refusal", victim.visit(mxmtest.CallbackPath+"?error=access_denied&state=made-up"), http.StatusBadRequest, "bad_state")
		equal(t, "codes exchanged", s.exchanges(), 0)
		equal(t, "attempts", len(flowCookies(victim.jar())), 1)
		equal(t, "user", victim.user(), "")
	}},
	{"denied", "a refusal at Musixmatch is denied, any other error is upstream, and no page shows its text", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{})
		s.mxm.Deny()
		b := s.browser()
		refused(t, "denied", b.visit(b.begin("")), http.StatusForbidden, "denied")
		equal(t, "attempts", len(flowCookies(b.jar())), 0)

		state := query(b.visit(loginPath).location(), "state")
		a := b.visit(mxmtest.CallbackPath + "?error=%3Cb%3Ecanary&error_description=canary&error_uri=https://canary.example&state=" + state)
		refused(t, "another error", a, http.StatusBadGateway, "upstream")
		lacks(t, "body", a.body, "canary")
		lacks(t, "log", s.log.String(), "canary")
		equal(t, "user", b.user(), "")
		equal(t, "codes exchanged", s.exchanges(), 0)
		equal(t, "sessions written", s.store.commits.Load(), 0)
	}},
	{"replay", "a callback counts once: a reload in the same browser changes nothing, and anybody else is refused", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{})
		b := s.browser()
		callback := b.begin("/page")
		redirected(t, "first", b.visit(callback), "/page")
		before := b.session().Value
		a := b.visit(callback)
		redirected(t, "again", a, "/welcome")
		equal(t, "cookies set", len(a.cookies), 0)
		equal(t, "session", b.session().Value, before)
		refused(t, "elsewhere", s.browser().visit(callback), http.StatusBadRequest, "bad_state")
		equal(t, "codes exchanged", s.exchanges(), 1)
	}},
	{"concurrent", "of twenty identical callbacks at once exactly one exchanges the code, and all are told where to go", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{})
		b := s.browser()
		callback := b.begin("/page")
		flows := flowCookies(b.jar())
		answers := make([]*answer, 20)
		var wg sync.WaitGroup
		for i := range answers {
			twin := s.browser().with(flows...) // a cookie jar each, since the winner's clears the flow
			wg.Go(func() {
				a, err := twin.try(http.MethodGet, callback, navigation...)
				if err != nil {
					t.Error(err)
					return
				}
				answers[i] = a
			})
		}
		wg.Wait()
		signedIn := 0
		for _, a := range answers {
			if a == nil {
				continue
			}
			redirected(t, "one of twenty", a, "/page")
			if a.cookie(s.sessions.Cookie.Name) != nil {
				signedIn++
			}
		}
		equal(t, "codes exchanged", s.exchanges(), 1)
		equal(t, "sessions begun", signedIn, 1)
		equal(t, "logins alive at Musixmatch", len(s.mxm.Live(alice)), 1)
	}},
	{"abandoned", "a callback that waits for its turn at Musixmatch waits no longer than its browser, and spends nothing", func(t *testing.T, adapter Adapter) {
		const turns, abandoned = 64, 100
		var serving atomic.Int64
		s := start(t, adapter, setup{around: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				serving.Add(1)
				defer serving.Add(-1)
				next.ServeHTTP(w, r)
			})
		}})
		musixmatch := make(chan struct{})
		s.mxm.Fail(mxmtest.Token, mxmtest.Hold(musixmatch), mxmtest.Always())
		ctx, leave := context.WithCancel(context.Background())
		defer leave()
		var wg sync.WaitGroup
		defer wg.Wait()
		answer := sync.OnceFunc(func() { close(musixmatch) })
		defer answer()
		forge := func(ctx context.Context, n int) {
			for range n {
				b := s.browser()
				state := query(b.visit(loginPath).location(), "state")
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+mxmtest.CallbackPath+"?code=forged&state="+state, nil)
				if err != nil {
					t.Fatal(err)
				}
				wg.Go(func() {
					if res, err := b.client.Do(r); err == nil {
						_ = res.Body.Close()
					}
				})
			}
		}
		forge(context.Background(), turns)
		eventually(t, "callbacks at Musixmatch", func() int { return s.exchanges() }, turns)
		forge(ctx, abandoned)
		eventually(t, "callbacks", func() int { return int(serving.Load()) }, turns+abandoned)
		leave()
		eventually(t, "callbacks, when the browsers have left", func() int { return int(serving.Load()) }, turns)
		answer()
		b := s.browser()
		b.signIn()
		equal(t, "user", b.user(), alice)
		equal(t, "codes exchanged", s.exchanges(), turns+1)
	}},
	{"refused codes", "a code that Musixmatch refuses leaves nothing in the store after a minute, and one that it takes is claimed for longer than the sign-in lives", func(t *testing.T, adapter Adapter) {
		var grants *claims
		s := start(t, adapter, setup{config: func(c *core.Config) {
			grants = &claims{GrantStore: c.Grants}
			c.Grants = grants
		}})
		b := s.browser()
		refused(t, "forged", b.visit(changed(b.begin(""), "code", "forged")), http.StatusBadRequest, "bad_request")
		if left := time.Until(grants.expiry()); left > time.Minute {
			t.Errorf("the claim of a refused code lives for %s", left)
		}
		b.signIn()
		if left := time.Until(grants.expiry()); left < time.Hour {
			t.Errorf("the claim of a code lives for %s", left)
		}
	}},
	{"failure keeps", "a failed callback alters neither the session nor another tab's attempt", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{})
		b := s.browser()
		b.signIn()
		session := b.session().Value
		other := b.begin("/page")
		callback := b.begin("")
		s.mxm.Fail(mxmtest.Token, mxmtest.Status(http.StatusInternalServerError, `{"error":"server_error"}`, 0))
		refused(t, "a failed exchange", b.visit(callback), http.StatusBadGateway, "upstream")
		equal(t, "session", b.session().Value, session)
		equal(t, "user", b.user(), alice)
		equal(t, "attempts", len(flowCookies(b.jar())), 1)
		redirected(t, "the other tab", b.visit(other), "/page")
	}},
	{"fail closed", "a wrong or missing answer of Musixmatch signs nobody in", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{})
		for _, c := range []struct {
			what     string
			endpoint mxmtest.Endpoint
			fault    mxmtest.Fault
			status   int
			code     string
		}{
			{"a lost answer", mxmtest.Token, mxmtest.DropResponse, http.StatusServiceUnavailable, "unavailable"},
			{"a page", mxmtest.Token, mxmtest.HTML(http.StatusOK), http.StatusBadGateway, "upstream"},
			{"a redirect", mxmtest.Token, mxmtest.Redirect(http.StatusTemporaryRedirect, s.url), http.StatusBadGateway, "upstream"},
			{"invalid_grant", mxmtest.Token, mxmtest.Status(http.StatusBadRequest, `{"error":"invalid_grant"}`, 0), http.StatusBadRequest, "bad_request"},
			{"active as a string", mxmtest.Metadata, mxmtest.SetField("active", `"true"`), http.StatusBadGateway, "upstream"},
			{"no sub", mxmtest.Metadata, mxmtest.DropField("sub"), http.StatusBadGateway, "upstream"},
			{"a number as sub", mxmtest.Metadata, mxmtest.SetField("sub", "1"), http.StatusBadGateway, "upstream"},
		} {
			b := s.browser()
			callback := b.begin("")
			s.mxm.Fail(c.endpoint, c.fault)
			a := b.visit(callback)
			refused(t, c.what, a, c.status, c.code)
			if c.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") == "" {
				t.Errorf("%s: no Retry-After", c.what)
			}
			equal(t, c.what+": user", b.user(), "")
		}
		b := s.browser()
		callback := b.begin("")
		s.mxm.Fail(mxmtest.Metadata, mxmtest.SetField("active", "false"), mxmtest.Always())
		refused(t, "inactive", b.visit(callback), http.StatusBadGateway, "upstream")
		equal(t, "inactive: user", b.user(), "")
		equal(t, "sessions written", s.store.commits.Load(), 0)
	}},
	{"OnLogin", "OnLogin refuses a login, or delays it by failing, before anything is stored", func(t *testing.T, adapter Adapter) {
		var answer error = core.ErrLoginRefused
		s := start(t, adapter, setup{config: func(c *core.Config) {
			c.OnLogin = func(context.Context, *core.Login) error { return answer }
		}})
		b := s.browser()
		refused(t, "refused", b.visit(b.begin("")), http.StatusForbidden, "login_refused")
		answer = errors.New("canary of the database")
		a := b.visit(b.begin(""))
		refused(t, "failed", a, http.StatusServiceUnavailable, "unavailable")
		lacks(t, "body", a.body, "canary")
		equal(t, "user", b.user(), "")
		answer = nil
		b.signIn()
		equal(t, "user", b.user(), alice)
	}},
	{"renewed", "every sign-in gives the browser a new session, and the old one is dead", func(t *testing.T, adapter Adapter) {
		s := start(t, adapter, setup{pages: []page{
			{"/put", false, func(s *site, w http.ResponseWriter, r *http.Request) error {
				s.put(r, r.URL.Query().Get("note"))
				return nil
			}},
			{"/note", false, (*site).note},
		}})
		b := s.browser()
		b.visit("/put?note=basket")
		first := b.session()
		b.signIn()
		equal(t, "what the visitor had", b.visit("/note").body, "note=basket")
		second := b.session()
		if first.Value == second.Value {
			t.Error("the session was not renewed at sign-in")
		}
		equal(t, "the old session", s.browser().with(first).visit("/note").body, "note=")

		s.mxm.SignInAs(bob)
		b.signIn()
		equal(t, "user", b.user(), bob)
		equal(t, "what the other user had", b.visit("/note").body, "note=")
		equal(t, "the other user's session", s.browser().with(second).user(), "")

		stranger := s.browser().with(&http.Cookie{Name: s.sessions.Cookie.Name, Value: strings.Repeat("A", 43), Path: "/"})
		stranger.visit("/put?note=x")
		if stranger.session().Value == strings.Repeat("A", 43) {
			t.Error("a session token of the client's own was adopted")
		}
	}},
}

// claims is a GrantStore that remembers when the newest claim on a callback ends.
type claims struct {
	core.GrantStore
	mu  sync.Mutex
	end time.Time
}

func (c *claims) CommitGrant(ctx context.Context, key, old string, r core.Record) error {
	err := c.GrantStore.CommitGrant(ctx, key, old, r)
	if err == nil && strings.HasPrefix(key, "claim_") {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.end = r.Expiry
	}
	return err
}

func (c *claims) expiry() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.end
}
