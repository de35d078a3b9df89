package core

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"

	"github.com/mxmconnect/mxmconnect/core/internal/grant"
	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
)

// AppTokenSource returns a source of tokens of the application itself (RFC 6749
// section 4.4), for calls that are about no single user. There may be no scopes.
// Never let a user choose them.
//
// All sources of the same scopes share one token, which must not be modified. It
// is renewed ahead of its expiry while the old one serves. Token waits as long
// as ctx, or 10 seconds if ctx has no deadline. Its errors are [ErrUnavailable],
// and [ErrUpstream] if Musixmatch refuses. Safe for concurrent use.
func (a *Auth) AppTokenSource(ctx context.Context, scopes ...string) oauth2.TokenSource {
	return appSource{a, ctx, a.apps.of(scopes)}
}

// AppClient returns an HTTP client that calls Musixmatch's API as the
// application. It is [Auth.Client] with the token of [Auth.AppTokenSource]. If
// the API rejects the token, a new one is requested, at most every 10 seconds.
func (a *Auth) AppClient(ctx context.Context, scopes ...string) *http.Client {
	return a.apiClient(ctx, appSource{a, ctx, a.apps.of(scopes)})
}

// appTokens holds one token per set of scopes, and no user's token.
type appTokens struct {
	sets    sync.Map // scopes → *appToken
	flights singleflight.Group
}

type appToken struct {
	scopes []string
	key    string
	cached atomic.Pointer[appServed]

	// One flight at a time touches these.
	failures int
	retryAt  time.Time
}

type appServed struct {
	token *oauth2.Token
	since time.Time
	due   time.Duration // how long after since it is renewed
	life  time.Duration
}

func (p *appTokens) of(scopes []string) *appToken {
	scopes = slices.Compact(slices.Sorted(slices.Values(scopes)))
	key := strings.Join(scopes, " ")
	if t, ok := p.sets.Load(key); ok {
		return t.(*appToken)
	}
	t, _ := p.sets.LoadOrStore(key, &appToken{scopes: scopes, key: key})
	return t.(*appToken)
}

type appSource struct {
	a   *Auth
	ctx context.Context
	set *appToken
}

func (s appSource) Token() (*oauth2.Token, error) { return s.get(s.ctx) }

func (s appSource) get(ctx context.Context) (*oauth2.Token, error) {
	now := s.set.cached.Load()
	if now == nil {
		return s.wait(ctx)
	}
	switch age := time.Since(now.since); {
	case age < now.due:
		return now.token, nil
	case age < now.life:
		s.fetch() // nobody waits for it
		return now.token, nil
	}
	return s.wait(ctx)
}

var errBackedOff = errors.New("it is too early for another attempt after a failure")

// rejectedTooSoon is the age below which a rejected token is not replaced.
const rejectedTooSoon = 10 * time.Second

func (s appSource) replace(ctx context.Context, rejected string) (*oauth2.Token, error) {
	now := s.set.cached.Load()
	switch {
	case now == nil:
	case now.token.AccessToken != rejected:
		return now.token, nil
	case time.Since(now.since) < rejectedTooSoon:
		return nil, nil
	default:
		s.set.cached.CompareAndSwap(now, nil)
	}
	return s.wait(ctx)
}

func (s appSource) wait(ctx context.Context) (*oauth2.Token, error) {
	ctx, cancel := grant.WithPatience(ctx)
	defer cancel()
	select {
	case res := <-s.fetch():
		if res.Err != nil {
			return nil, res.Err
		}
		return res.Val.(*oauth2.Token), nil
	case <-ctx.Done():
		return nil, fail("app token", ErrUnavailable, ctx.Err())
	}
}

// fetch requests a token, once for all callers, on a context of its own.
func (s appSource) fetch() <-chan singleflight.Result {
	return s.a.apps.flights.DoChan(s.set.key, func() (any, error) {
		if !s.a.begin() {
			return nil, fail("app token", ErrUnavailable, errClosing)
		}
		defer s.a.work.Done()
		t, err := s.set.renew(context.Background(), s.a)
		if err != nil {
			return nil, err
		}
		return t, nil
	})
}

// renew requests a token unless the current one is fresh or the last failure is
// too recent.
func (t *appToken) renew(ctx context.Context, a *Auth) (*oauth2.Token, error) {
	if s := t.cached.Load(); s != nil && time.Since(s.since) < s.due {
		return s.token, nil // the flight before this one has just landed
	}
	if time.Now().Before(t.retryAt) {
		return nil, fail("app token", ErrUnavailable, errBackedOff)
	}
	if a.grants.Paused() > 0 {
		return nil, fail("app token", ErrUnavailable, grant.ErrPaused)
	}
	began := time.Now()
	got, err := a.musixmatch.ClientCredentials(ctx, t.scopes)
	a.grants.Heed(err)
	if err == nil && got.Scope != "" && !grant.Covers(got.Scope, t.key) {
		err = errors.New("fewer scopes were granted than asked for") // never assumed: RFC 6749 section 3.3
	}
	if err != nil {
		return nil, t.failed(ctx, a, began, err)
	}
	t.failures, t.retryAt = 0, time.Time{}
	due, life := a.grants.Schedule(got.ExpiresIn)
	s := &appServed{
		token: &oauth2.Token{AccessToken: got.Access, TokenType: "Bearer", Expiry: began.Add(life)},
		since: began,
		due:   due,
		life:  life,
	}
	t.cached.Store(s)
	a.emitAside(ctx, Event{Kind: EventAppToken, Took: time.Since(began)})
	return s.token, nil
}

// failed says when to try again, tells the operator, and returns the outcome.
func (t *appToken) failed(ctx context.Context, a *Auth, began time.Time, err error) error {
	t.failures++
	wait := a.grants.Backoff(t.failures)
	outcome, reason := ErrUpstream, grant.ReasonUpstream
	var call *musixmatch.CallError
	if errors.As(err, &call) {
		if call.RetryAfter > 0 {
			wait = call.RetryAfter
		}
		switch {
		case call.Temporary():
			outcome, reason = ErrUnavailable, grant.ReasonUnavailable
		case call.WrongClient():
			reason = grant.ReasonInvalidClient
		}
	}
	t.retryAt = time.Now().Add(wait)
	a.emitAside(ctx, Event{Kind: EventAppToken, Reason: reason, Err: err, Took: time.Since(began)})
	return fail("app token", outcome, err)
}
