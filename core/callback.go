package core

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
	"github.com/mxmconnect/mxmconnect/core/internal/seal"
)

const (
	callbackTimeout = 15 * time.Second
	claimLife       = flowLife + time.Hour // longer than any clocks differ on when the flow ends
	maxLogins       = 64                   // callbacks at Musixmatch at once; others wait
)

var errBusy = errors.New("too many sign-ins are being finished at once")

var errUnknownToken = &musixmatch.CallError{What: "token-metadata", Sent: true, Status: http.StatusOK, Cause: errors.New("it does not know the new token")}

// serveCallback finishes what login began. Nothing is asked of Musixmatch
// before the answer is known to be this browser's own, and nothing happens
// twice for one answer.
func (a *Auth) serveCallback(w http.ResponseWriter, r *http.Request, s *session) error {
	start := time.Now()
	refuse := func(outcome *Error, cause error) error {
		a.emit(r.Context(), Event{Kind: EventLoginFailed, Reason: outcome.Code, Took: time.Since(start), Err: cause})
		return a.refusal(w, "callback", outcome, cause)
	}
	response, err := musixmatch.ReadAuthorizationResponse(r.URL.RawQuery)
	if err != nil {
		return refuse(ErrBadRequest, err)
	}
	f, err := a.openFlow(r, response.State)
	if err != nil {
		if user, _ := s.userID(r.Context()); user != "" {
			// A reload, or a second click, by a browser that is signed in already.
			return a.arrive(w, s, a.browserPath(a.cfg.AfterLogin))
		}
		return refuse(ErrState, err)
	}
	appUser := s.applicationUser(r.Context())
	if outcome, err := a.belongs(f, appUser); err != nil {
		return refuse(outcome, err)
	}
	checked, err := a.musixmatch.Check(response, f.State, f.Verifier)
	if err != nil {
		outcome := checkOutcome(err)
		if outcome != ErrState {
			a.clearFlow(w, response.State)
		}
		return refuse(outcome, err)
	}
	if s.unavailable != nil { // and could not be replaced: nothing is spent yet
		return refuse(ErrUnavailable, s.unavailable)
	}

	// From here on the work is not the browser's to interrupt: a closed tab
	// must not end an older grant half-way.
	if !a.begin() {
		return refuse(ErrUnavailable, errClosing)
	}
	defer a.work.Done()
	ctx, cancel := s.detached(callbackTimeout)
	defer cancel()
	select { // before the claim: what waits in vain has spent nothing
	case a.logins <- struct{}{}:
		defer func() { <-a.logins }()
	case <-ctx.Done():
		return refuse(ErrUnavailable, errBusy)
	}
	switch won, err := a.claim(ctx, response.State); {
	case err != nil:
		return refuse(ErrUnavailable, err)
	case !won:
		return a.arrive(w, s, a.returnTo(f.ReturnTo))
	}
	a.clearFlow(w, response.State)
	login, outcome, err := a.finishLogin(ctx, checked, f, appUser)
	if err != nil {
		return refuse(outcome, err)
	}
	kind := EventConnect
	if f.Purpose == signInFlow {
		kind = EventLogin
		if err := s.signIn(ctx, login.UserID); err != nil {
			return refuse(ErrUnavailable, err)
		}
	}
	if err := s.save(w); err != nil {
		return refuse(ErrUnavailable, err)
	}
	a.emit(ctx, Event{Kind: kind, User: a.userHash(login.UserID), Took: time.Since(start)})
	seeOther(w, login.ReturnTo)
	return nil
}

func (a *Auth) arrive(w http.ResponseWriter, s *session, location string) error {
	if err := s.save(w); err != nil {
		return a.refusal(w, "callback", ErrUnavailable, err)
	}
	seeOther(w, location)
	return nil
}

// belongs says whether the attempt may be finished here: by the same kind of
// sign-in, and by the application's user who began it.
func (a *Auth) belongs(f flow, appUser string) (*Error, error) {
	purpose := signInFlow
	if a.cfg.AppUser != nil {
		purpose = connectFlow
	}
	if f.Purpose != purpose {
		return ErrState, errors.New("the attempt was for another purpose")
	}
	if !bytes.Equal(f.AppUser, appUserSum(appUser)) {
		return ErrUserChanged, errors.New("another user was signed in when the attempt began")
	}
	return nil, nil
}

// checkOutcome is what an authorization response means that was not accepted.
func checkOutcome(err error) *Error {
	switch err {
	case musixmatch.ErrAccessDenied:
		return ErrDenied
	case musixmatch.ErrAuthorization:
		return ErrUpstream
	}
	return ErrState
}

// claim makes this callback the one that exchanges the code: of any number of
// identical ones, on any number of instances, exactly one creates the record.
func (a *Auth) claim(ctx context.Context, state string) (won bool, err error) {
	hash := sha256.Sum256([]byte("claim\x00" + state))
	key := "claim_" + base64.RawURLEncoding.EncodeToString(hash[:])
	rec := Record{Version: seal.RandomString(), Expiry: time.Now().Add(claimLife)}
	err = a.cfg.Grants.CommitGrant(ctx, key, "", rec)
	if err == nil {
		return true, nil
	}
	if stored, found, findErr := a.cfg.Grants.FindGrant(ctx, key); findErr == nil && found {
		return stored.Version == rec.Version, nil
	}
	return false, err
}

// finishLogin exchanges the code, asks who the tokens belong to, and stores
// them. When it fails the tokens are discarded, and nothing has changed.
func (a *Auth) finishLogin(ctx context.Context, checked musixmatch.CheckedResponse, f flow, appUser string) (*Login, *Error, error) {
	t, err := a.musixmatch.Exchange(ctx, checked)
	if err != nil {
		return nil, loginOutcome(err), err
	}
	discard := func(outcome *Error, err error) (*Login, *Error, error) {
		a.musixmatch.Revoke(ctx, t.Refresh)
		return nil, outcome, err
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
	login := &Login{UserID: who.Sub, AppUser: appUser, ReturnTo: a.returnTo(f.ReturnTo), Scopes: scopes}
	if a.cfg.OnLogin != nil {
		if err := a.cfg.OnLogin(ctx, login); errors.Is(err, ErrLoginRefused) {
			return discard(ErrLoginRefused, err)
		} else if err != nil {
			return discard(ErrUnavailable, err)
		}
		login.UserID, login.ReturnTo = who.Sub, a.returnTo(login.ReturnTo)
	}
	if err := a.grants.Put(ctx, who.Sub, t); err != nil {
		return discard(ErrUnavailable, err)
	}
	return login, nil, nil
}

// identify asks whose a token is that was issued a moment ago. token-metadata
// may lag behind, or be busy, and the code is spent: so it is asked three times.
func (a *Auth) identify(ctx context.Context, access string) (musixmatch.Introspection, error) {
	for wait := 250 * time.Millisecond; ; wait *= 4 {
		who, err := a.musixmatch.Introspect(ctx, access)
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

// loginOutcome is what a failed call means for a login.
func loginOutcome(err error) *Error {
	var call *musixmatch.CallError
	switch {
	case !errors.As(err, &call) || call.Status == 0:
		return ErrUnavailable
	case call.Code == "invalid_grant":
		return ErrBadRequest
	}
	return ErrUpstream
}
