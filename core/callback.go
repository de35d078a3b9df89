package core

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/grant"
	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
	"github.com/mxmconnect/mxmconnect/core/internal/recovery"
	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

const (
	callbackTimeout = 15 * time.Second
	maxCallbacks    = 64 // at Musixmatch at once; others wait
)

var (
	errBusy      = errors.New("too many sign-ins are being finished at once")
	errAbandoned = errors.New("the request ended while its sign-in waited for its turn")
)

var errUnknownToken = &musixmatch.CallError{What: "token-metadata", Sent: true, Status: http.StatusOK, Cause: errors.New("it does not know the new token")}

// serveCallback finishes what login began: it finds the attempt, checks that
// the answer belongs to it, and only then asks anything of Musixmatch.
func (a *Auth) serveCallback(w http.ResponseWriter, r *http.Request, s *session.Session) error {
	start := time.Now()
	refuse := func(outcome *Error, cause error) error {
		reason := outcome.Code
		if cause == errAbandoned {
			reason = "abandoned"
		}
		a.emit(r.Context(), Event{Kind: EventLoginFailed, Reason: reason, Took: time.Since(start), Err: cause})
		return a.errorResponse(w, "callback", outcome, cause)
	}
	response, err := musixmatch.ReadAuthorizationResponse(r.URL.RawQuery)
	if err != nil {
		return refuse(ErrBadRequest, err)
	}
	f, err := a.openFlow(r, response.State)
	if err != nil {
		if user, _ := s.UserID(r.Context()); user != "" {
			// A reload, or a second click, by a browser that is signed in already.
			return a.arrive(w, s, a.afterLogin())
		}
		return refuse(ErrState, err)
	}
	c := callback{start: start, state: response.State, flow: f, appUser: s.AppUser(r.Context())}
	var failure *Error
	if c.checked, failure = a.checkCallback(w, s, response, c); failure != nil {
		return refuse(failure, failure.Err)
	}
	login, failure := a.finishCallback(w, r, s, c)
	switch {
	case failure != nil:
		return refuse(failure, failure.Err)
	case login == nil:
		return a.arrive(w, s, a.returnTo(f.ReturnTo))
	}
	seeOther(w, login.ReturnTo)
	return nil
}

// callback is an authorization response and the attempt that it answers.
type callback struct {
	start   time.Time
	state   string
	flow    flow
	appUser string
	checked musixmatch.CheckedResponse
}

func (a *Auth) arrive(w http.ResponseWriter, s *session.Session, location string) error {
	if err := s.Save(w); err != nil {
		return a.errorResponse(w, "callback", ErrUnavailable, err)
	}
	seeOther(w, location)
	return nil
}

// checkCallback checks that the response may finish the attempt. Nothing is
// spent yet.
func (a *Auth) checkCallback(w http.ResponseWriter, s *session.Session, response musixmatch.AuthorizationResponse, c callback) (checked musixmatch.CheckedResponse, failure *Error) {
	if !bytes.Equal(c.flow.AppUser, sum(c.appUser)) {
		return checked, fail("callback", ErrUserChanged, errors.New("another user was signed in when the attempt began"))
	}
	checked, err := a.musixmatch.Check(response, c.flow.State, c.flow.Verifier)
	if err != nil {
		outcome := checkOutcome(err)
		if outcome != ErrState {
			a.clearFlow(w, c.flow)
		}
		return checked, fail("callback", outcome, err)
	}
	if err := s.Unavailable(); err != nil { // the session could not be replaced
		return checked, fail("callback", ErrUnavailable, err)
	}
	return checked, nil
}

// checkOutcome returns what it means that an authorization response was not accepted.
func checkOutcome(err error) *Error {
	switch err {
	case musixmatch.ErrAccessDenied:
		return ErrDenied
	case musixmatch.ErrAuthorization:
		return ErrUpstream
	}
	return ErrState
}

// finishCallback signs the user in, or connects the two accounts, and saves the
// session. It returns nil and no error if another callback with the same state
// has done so. The browser cannot interrupt it: a closed tab must not end an
// older grant half-way.
func (a *Auth) finishCallback(w http.ResponseWriter, r *http.Request, s *session.Session, c callback) (*Login, *Error) {
	unavailable := func(cause error) (*Login, *Error) { return nil, fail("callback", ErrUnavailable, cause) }
	if !a.begin() {
		return unavailable(errClosing)
	}
	defer a.work.Done()
	if err := a.takeTurn(r.Context()); err != nil {
		return unavailable(err)
	}
	defer func() { <-a.callbacks }()
	ctx, cancel := s.Detached(callbackTimeout)
	defer cancel()
	claimed, err := a.claimCallback(ctx, c.state)
	if err != nil {
		return unavailable(err)
	}
	if claimed == nil {
		return nil, nil
	}
	a.clearFlow(w, c.flow)
	login, failure := a.finishLogin(ctx, c)
	if failure != nil {
		if refusesCode(failure.Err) {
			a.endSoon(ctx, claimed)
		}
		return nil, failure
	}
	kind := EventConnect
	if a.cfg.AppUser == nil {
		kind = EventLogin
		if err := s.SignIn(ctx, login.UserID); err != nil {
			return unavailable(err)
		}
	}
	if err := s.Save(w); err != nil {
		return unavailable(err)
	}
	a.emit(ctx, Event{Kind: kind, User: a.userHash(login.UserID), Took: time.Since(c.start)})
	return login, nil
}

// takeTurn waits until few enough callbacks are at Musixmatch, and until it may be
// asked. ctx is the request's: nothing has been spent yet, so a callback whose
// browser leaves does not wait on.
func (a *Auth) takeTurn(ctx context.Context) error {
	waiting, cancel := context.WithTimeout(ctx, callbackTimeout)
	defer cancel()
	select {
	case a.callbacks <- struct{}{}:
	case <-waiting.Done():
		if ctx.Err() != nil {
			return errAbandoned
		}
		return errBusy
	}
	err := a.unpaused(waiting)
	if ctx.Err() != nil {
		err = errAbandoned
	}
	if err != nil {
		<-a.callbacks
	}
	return err
}

// finishLogin exchanges the code, asks whose the tokens are, and stores them.
// If it fails, the tokens are discarded and nothing has changed; only where a store
// neither took nor returned them for certain are they left as they are.
func (a *Auth) finishLogin(ctx context.Context, c callback) (*Login, *Error) {
	t, err := a.musixmatch.Exchange(ctx, c.checked)
	a.grants.Heed(err)
	if err != nil {
		return nil, fail("callback", loginOutcome(err), err)
	}
	discard := func(outcome *Error, err error) (*Login, *Error) {
		a.musixmatch.Revoke(ctx, t.Refresh)
		return nil, fail("callback", outcome, err)
	}
	scopes := strings.Fields(t.Scope)
	if len(scopes) == 0 {
		scopes = slices.Clone(a.cfg.Scopes) // RFC 6749 section 5.1: omitted if as requested
	}
	if !slices.Contains(scopes, "profile") || !slices.Contains(scopes, "email") {
		return discard(ErrUpstream, errors.New("a required scope was not granted"))
	}
	who, err := a.identify(ctx, t.Access)
	if err != nil {
		return discard(loginOutcome(err), err)
	}
	login := &Login{UserID: who.Sub, AppUser: c.appUser, ReturnTo: a.returnTo(c.flow.ReturnTo), Scopes: scopes}
	if a.cfg.OnLogin != nil {
		if err := a.onLogin(ctx, login); errors.Is(err, ErrLoginRefused) {
			return discard(ErrLoginRefused, err)
		} else if err != nil {
			return discard(ErrUnavailable, err)
		}
		login.UserID, login.ReturnTo = who.Sub, a.returnTo(login.ReturnTo)
	}
	if err := a.grants.Put(ctx, who.Sub, t); errors.Is(err, grant.ErrUnread) {
		return nil, fail("callback", ErrUnavailable, err) // they may be stored, and in use
	} else if err != nil {
		return discard(ErrUnavailable, err)
	}
	return login, nil
}

// unpaused waits until Musixmatch, which has asked this client to wait, wants calls
// again. It fails at once if that is not soon.
func (a *Auth) unpaused(ctx context.Context) error {
	wait := a.grants.Paused()
	if wait > callbackTimeout/2 {
		return grant.ErrPaused
	}
	if wait == 0 {
		return nil
	}
	select {
	case <-time.After(wait):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// onLogin asks the application. A panic is an error like any other: the tokens
// must still be discarded.
func (a *Auth) onLogin(ctx context.Context, login *Login) (err error) {
	defer recovery.Catch(&err)
	return a.cfg.OnLogin(ctx, login)
}

// identify asks whose a token is that was issued a moment ago. It asks three
// times: token-metadata may lag behind or be busy, and the code is spent.
func (a *Auth) identify(ctx context.Context, access string) (musixmatch.Introspection, error) {
	for wait := 250 * time.Millisecond; ; wait *= 4 {
		if err := a.unpaused(ctx); err != nil {
			return musixmatch.Introspection{}, err
		}
		who, err := a.musixmatch.Introspect(ctx, access)
		a.grants.Heed(err)
		var call *musixmatch.CallError
		again := errors.As(err, &call) && call.Temporary()
		if err == nil && !who.Active {
			again, err = true, errUnknownToken
		}
		if !again || wait > time.Second {
			return who, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return who, err
		}
	}
}

// refusesCode reports whether err is Musixmatch's refusal of an authorization code.
func refusesCode(err error) bool {
	var call *musixmatch.CallError
	return errors.As(err, &call) && call.Code == "invalid_grant"
}

// loginOutcome returns what a failed call means for a login. Waiting does not
// help here, because the code is spent: a broken answer is Musixmatch's fault,
// also one that says it is busy.
func loginOutcome(err error) *Error {
	var call *musixmatch.CallError
	switch {
	case !errors.As(err, &call) || call.Status == 0:
		return ErrUnavailable
	case refusesCode(err):
		return ErrBadRequest
	}
	return ErrUpstream
}
