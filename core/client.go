package core

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/oauth2"

	"github.com/mxmconnect/mxmconnect/core/internal/grant"
	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
)

// TokenSource returns a source of the user's access token, for use with any
// client that takes an [oauth2.TokenSource]. Making one is free: all of them
// share what this Auth knows about the user.
//
// Token returns a shared token, which must not be modified. It never holds a
// refresh token. Token refreshes when due, and waits for that as long as ctx, or
// 10 seconds if ctx has no deadline. Its errors are [ErrNotSignedIn] if userID
// is empty, [ErrReconnect] if the user has no grant or has lost it, and
// [ErrUnavailable] if there is no token at the moment. Safe for concurrent use.
//
// A refresh can end a token at any time after it was returned. [Auth.Client]
// takes care of that; an oauth2.ReuseTokenSource around this source does not.
func (a *Auth) TokenSource(ctx context.Context, userID string) oauth2.TokenSource {
	return &userSource{a.grants, ctx, userID}
}

type userSource struct {
	grants *grant.Manager
	ctx    context.Context
	userID string
}

func (s *userSource) Token() (*oauth2.Token, error) {
	if t := s.grants.Cached(s.userID); t != nil {
		return t, nil
	}
	return s.get(s.ctx)
}

func (s *userSource) get(ctx context.Context) (*oauth2.Token, error) {
	if s.userID == "" {
		return nil, fail("token", ErrNotSignedIn, nil)
	}
	t, err := s.grants.Token(ctx, s.userID)
	if err != nil {
		return nil, grantError("token", err)
	}
	return t, nil
}

func (s *userSource) replace(ctx context.Context, rejected string) (*oauth2.Token, error) {
	t, err := s.grants.Replace(ctx, s.userID, rejected)
	if err != nil {
		return nil, grantError("token", err)
	}
	return t, nil
}

// Client returns an HTTP client that calls Musixmatch's API as the user. It
// adds the access token to every request. If the API answers 401 because a
// refresh has ended the token meanwhile, it repeats the request once.
//
// Tokens go only to Config.APIOrigins and to https hosts under musixmatch.com.
// A request to another host is refused before it is sent, also after a redirect:
// neither the token nor the body leaves. A 401 that is not about the token is
// returned as it is.
//
// Its errors are those of the transport and of [Auth.TokenSource], wrapped in
// [url.Error]. A request that should be repeated, but whose body cannot be sent
// again (no GetBody), fails with [ErrUnavailable]: the API did not accept it,
// and the next one carries the new token. Waiting for a token ends with the
// request's context or with ctx. Safe for concurrent use.
func (a *Auth) Client(ctx context.Context, userID string) *http.Client {
	return a.apiClient(ctx, &userSource{a.grants, ctx, userID})
}

// bearer provides the token of API calls.
type bearer interface {
	get(context.Context) (*oauth2.Token, error)
	// replace returns a token in place of one that the API has rejected, or nil
	// if the 401 was about something else or nobody can say.
	replace(ctx context.Context, rejected string) (*oauth2.Token, error)
}

func (a *Auth) apiClient(ctx context.Context, b bearer) *http.Client {
	base := http.DefaultTransport
	if a.cfg.HTTPClient != nil && a.cfg.HTTPClient.Transport != nil {
		base = a.cfg.HTTPClient.Transport
	}
	return &http.Client{Transport: &apiTransport{auth: a, base: base, ctx: ctx, bearer: b}}
}

type apiTransport struct {
	auth   *Auth
	base   http.RoundTripper
	ctx    context.Context
	bearer bearer
}

var errNoReplay = errors.New("the token was replaced, but the request body cannot be sent again (no GetBody)")

// RoundTrip implements [http.RoundTripper].
func (t *apiTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if !t.allowed(req.URL) {
		closeBody(req)
		err := fail("api call", errConfiguration,
			fmt.Errorf("tokens are not sent to %s; if they should be, add it to APIOrigins", musixmatch.OriginOf(req.URL)))
		t.auth.warnOnce(&t.auth.warned.origin, req, "an API call was refused", slog.String("error", err.Error()))
		return nil, err
	}
	ctx, cancel := joined(req.Context(), t.ctx)
	defer cancel()
	token, err := t.bearer.get(ctx)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	resp, err := t.send(req, token)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	next, err := t.bearer.replace(ctx, token.AccessToken)
	if next == nil && err == nil {
		return resp, nil
	}
	discard(resp.Body)
	if err != nil {
		return nil, err
	}
	again := req.Clone(req.Context())
	if req.Body != nil && req.Body != http.NoBody {
		if req.GetBody == nil {
			return nil, fail("api call", ErrUnavailable, errNoReplay)
		}
		if again.Body, err = req.GetBody(); err != nil {
			return nil, fail("api call", ErrUnavailable, err)
		}
	}
	resp, err = t.send(again, next)
	if resp != nil {
		resp.Request = req
	}
	return resp, err
}

// send sends a copy of req with the token. The answer names req, and not the
// copy: who prints resp.Request must not print the token.
func (t *apiTransport) send(req *http.Request, token *oauth2.Token) (*http.Response, error) {
	out := req.Clone(req.Context())
	out.Header.Set("Authorization", "Bearer "+token.AccessToken)
	resp, err := t.base.RoundTrip(out)
	if resp != nil {
		resp.Request = req
	}
	return resp, err
}

// joined returns a copy of ctx that also ends with other.
func joined(ctx, other context.Context) (context.Context, context.CancelFunc) {
	var cancel context.CancelFunc
	if deadline, ok := other.Deadline(); ok {
		ctx, cancel = context.WithDeadline(ctx, deadline)
	} else {
		ctx, cancel = context.WithCancel(ctx)
	}
	stop := context.AfterFunc(other, cancel)
	return ctx, func() { stop(); cancel() }
}

// allowed reports whether a token may be sent to u.
func (t *apiTransport) allowed(u *url.URL) bool {
	if slices.Contains(t.auth.cfg.APIOrigins, musixmatch.OriginOf(u)) {
		return true
	}
	host := strings.ToLower(u.Hostname())
	if strings.ContainsAny(host, "%:") { // an IPv6 zone may end in any name
		return false
	}
	return u.Scheme == "https" && (host == "musixmatch.com" || strings.HasSuffix(host, ".musixmatch.com"))
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// discard reads the rest of body, so that the transport can reuse the connection.
func discard(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, musixmatch.MaxResponse)
	body.Close()
}
