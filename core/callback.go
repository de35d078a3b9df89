package core

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	callbackTimeout = 15 * time.Second
	claimLife       = flowLife + time.Hour // longer than any clocks differ on when the flow ends
	maxCodeSize     = 4 << 10
	maxLogins       = 64 // callbacks at Musixmatch at once; others wait
)

var errBusy = errors.New("too many sign-ins are being finished at once")

var errUnknownToken = &callError{What: "token-metadata", Sent: true, Status: http.StatusOK, Cause: errors.New("it does not know the new token")}

// A callback is a chain of types: only check makes a checkedAnswer, and only a
// checkedAnswer can be exchanged, so no edit can skip state or PKCE.
type (
	// answer is an authorization response as it came in (RFC 6749 section 4.1.2).
	authorizationAnswer struct {
		state, code, refusal, iss string
	}
	// checkedAnswer is one that this browser asked for.
	checkedAnswer struct {
		state, code, verifier, appUser string
	}
)

// serveCallback finishes what login began. Nothing is asked of Musixmatch
// before the answer is known to be this browser's own, and nothing happens
// twice for one answer.
func (a *Auth) serveCallback(w http.ResponseWriter, r *http.Request, s *session) error {
	start := time.Now()
	refuse := func(outcome *Error, cause error) error {
		a.emit(r.Context(), Event{Kind: EventLoginFailed, Reason: outcome.Code, Took: time.Since(start), Err: cause})
		return a.refusal(w, "callback", outcome, cause)
	}
	answer, err := readAnswer(r.URL.RawQuery)
	if err != nil {
		return refuse(ErrBadRequest, err)
	}
	f, err := a.openFlow(r, answer.state)
	if err != nil {
		if user, _ := s.userID(r.Context()); user != "" {
			// A reload, or a second click, by a browser that is signed in already.
			return a.arrive(w, s, a.browserPath(a.cfg.AfterLogin))
		}
		return refuse(ErrState, err)
	}
	checked, outcome, err := a.check(f, answer, s.applicationUser(r.Context()))
	if err != nil {
		if outcome == ErrDenied || outcome == ErrUpstream {
			a.clearFlow(w, answer.state)
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
		defer a.logins.release()
	case <-ctx.Done():
		return refuse(ErrUnavailable, errBusy)
	}
	switch won, err := a.claim(ctx, answer.state); {
	case err != nil:
		return refuse(ErrUnavailable, err)
	case !won:
		return a.arrive(w, s, a.returnTo(f.ReturnTo))
	}
	a.clearFlow(w, answer.state)
	login, outcome, err := a.finishLogin(ctx, checked, f)
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

// readAnswer takes the parameters out of the query. "Parameters MUST NOT be
// included more than once" (RFC 6749 section 3.1); unknown ones are ignored.
func readAnswer(query string) (authorizationAnswer, error) {
	malformed := func(text string) (authorizationAnswer, error) { return authorizationAnswer{}, errors.New(text) }
	values, err := url.ParseQuery(query)
	if err != nil {
		return malformed("the query cannot be parsed")
	}
	for _, name := range []string{"state", "code", "error", "iss"} {
		if v, present := values[name]; present && (len(v) != 1 || v[0] == "") {
			return malformed(name + " is repeated or empty")
		}
	}
	answer := authorizationAnswer{
		state: values.Get("state"), code: values.Get("code"), refusal: values.Get("error"), iss: values.Get("iss"),
	}
	switch {
	case answer.state == "" || len(answer.state) > maxStateSize:
		return malformed("state is missing or too long")
	case len(answer.code) > maxCodeSize:
		return malformed("code is too long")
	case (answer.code == "") == (answer.refusal == ""):
		return malformed("exactly one of code and error is needed")
	}
	return answer, nil
}

// check says whether the answer belongs to the flow, before anything is asked
// of the network.
func (a *Auth) check(f flow, answer authorizationAnswer, appUser string) (checkedAnswer, *Error, error) {
	none := checkedAnswer{}
	// RFC 9207 section 2.4. Without a known issuer there is nothing to compare.
	if issuer := a.cfg.Endpoint.Issuer; issuer != "" && answer.iss != issuer && (answer.iss != "" || a.cfg.Endpoint.IssRequired) {
		return none, ErrState, errors.New("the answer names another issuer, or none")
	}
	purpose := signInFlow
	if a.cfg.AppUser != nil {
		purpose = connectFlow
	}
	if f.Purpose != purpose {
		return none, ErrState, errors.New("the attempt was for another purpose")
	}
	if !bytes.Equal(f.AppUser, appUserSum(appUser)) {
		return none, ErrUserChanged, errors.New("another user was signed in when the attempt began")
	}
	switch answer.refusal {
	case "":
		return checkedAnswer{state: answer.state, code: answer.code, verifier: f.Verifier, appUser: appUser}, nil, nil
	case "access_denied":
		return none, ErrDenied, errors.New("access was denied")
	}
	return none, ErrUpstream, errors.New("the authorization endpoint answered with an error")
}

// claim makes this callback the one that exchanges the code: of any number of
// identical ones, on any number of instances, exactly one creates the record.
func (a *Auth) claim(ctx context.Context, state string) (won bool, err error) {
	hash := sha256.Sum256([]byte("claim\x00" + state))
	key := "claim_" + base64.RawURLEncoding.EncodeToString(hash[:])
	rec := Record{Version: randomString(), Expiry: time.Now().Add(claimLife)}
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
func (a *Auth) finishLogin(ctx context.Context, checked checkedAnswer, f flow) (*Login, *Error, error) {
	t, err := a.musixmatch.exchange(ctx, checked)
	if err != nil {
		return nil, loginOutcome(err), err
	}
	discard := func(outcome *Error, err error) (*Login, *Error, error) {
		a.musixmatch.revoke(ctx, t.Refresh)
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
	login := &Login{UserID: who.Sub, AppUser: checked.appUser, ReturnTo: a.returnTo(f.ReturnTo), Scopes: scopes}
	if a.cfg.OnLogin != nil {
		if err := a.cfg.OnLogin(ctx, login); errors.Is(err, ErrLoginRefused) {
			return discard(ErrLoginRefused, err)
		} else if err != nil {
			return discard(ErrUnavailable, err)
		}
		login.UserID, login.ReturnTo = who.Sub, a.returnTo(login.ReturnTo)
	}
	if err := a.storeLogin(ctx, who.Sub, t); err != nil {
		return discard(ErrUnavailable, err)
	}
	return login, nil, nil
}

// identify asks whose a token is that was issued a moment ago. token-metadata
// may lag behind, or be busy, and the code is spent: so it is asked three times.
func (a *Auth) identify(ctx context.Context, access string) (introspection, error) {
	for wait := 250 * time.Millisecond; ; wait *= 4 {
		who, err := a.musixmatch.introspect(ctx, access)
		var call *callError
		again := errors.As(err, &call) && (call.Status == 0 || call.Status == http.StatusTooManyRequests || call.Status >= 500)
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
	var call *callError
	switch {
	case !errors.As(err, &call) || call.Status == 0:
		return ErrUnavailable
	case call.Code == "invalid_grant":
		return ErrBadRequest
	}
	return ErrUpstream
}
