package core

import (
	"errors"
	"net/http"

	"github.com/mxmconnect/mxmconnect/core/internal/grant"
)

// Error is the type of every error of this package that a caller can act on.
// It never holds a token, a code, a state, a verifier or a secret, nor anything
// that a browser or the authorization server sent.
type Error struct {
	Op          string // the operation, such as "callback"
	Code        string // the outcome, such as "bad_state"; clients see it
	Description string // one fixed sentence for people
	Status      int    // the HTTP status that fits the outcome
	Err         error  // the cause, or nil
	LoginURL    string // where to sign in, if a script was refused with not_signed_in

	login string // where the error page leads to, if a sign-in helps
	home  string // where it leads to in any case
}

// Error implements error.
func (e *Error) Error() string {
	s := "musixmatch: "
	if e.Op != "" {
		s += e.Op + ": "
	}
	s += e.Description
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// StatusCode returns the HTTP status that fits the outcome.
func (e *Error) StatusCode() int { return e.Status }

// Is reports whether target is the sentinel of this outcome.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Op == "" && t.Err == nil && t.Code == e.Code
}

func sentinel(code string, status int, description string) *Error {
	return &Error{Code: code, Description: description, Status: status}
}

// The outcomes that an application can meet. Compare with [errors.Is].
var (
	ErrNotSignedIn  = sentinel("not_signed_in", http.StatusUnauthorized, "nobody is signed in")
	ErrReconnect    = sentinel("reconnect", http.StatusUnauthorized, "the user must connect to Musixmatch again")
	ErrState        = sentinel("bad_state", http.StatusBadRequest, "this sign-in was not started in this browser, or it has expired")
	ErrBadRequest   = sentinel("bad_request", http.StatusBadRequest, "the request is malformed")
	ErrMethod       = sentinel("method_not_allowed", http.StatusMethodNotAllowed, "the method is not allowed here")
	ErrDenied       = sentinel("denied", http.StatusForbidden, "access was denied at Musixmatch")
	ErrUserChanged  = sentinel("user_changed", http.StatusForbidden, "the application's user changed since the connection was started")
	ErrNotConnected = sentinel("not_connected", http.StatusForbidden, "the application's user has not connected a Musixmatch account")
	ErrLoginRefused = sentinel("login_refused", http.StatusForbidden, "the application refused this Musixmatch account")
	ErrCrossOrigin  = sentinel("cross_origin", http.StatusForbidden, "the request came from another site")
	ErrNotFound     = sentinel("not_found", http.StatusNotFound, "there is no such session")
	ErrUpstream     = sentinel("upstream", http.StatusBadGateway, "Musixmatch gave an unexpected answer")
	ErrUnavailable  = sentinel("unavailable", http.StatusServiceUnavailable, "the service is unavailable at the moment")
	ErrUnsupported  = sentinel("unsupported", http.StatusNotImplemented, "the store does not support this")
)

// ErrConflict is the error of a [GrantStore], wrapped or not, if the stored
// version is not the one that CommitGrant should replace.
var ErrConflict = grant.ErrConflict

var (
	errInternal      = sentinel("internal", http.StatusInternalServerError, "something went wrong")
	errConfiguration = sentinel("internal", http.StatusInternalServerError, "the configuration does not allow it")
)

// grantError turns an error of package grant into an outcome.
func grantError(op string, err error) error {
	var f *grant.Failure
	if !errors.As(err, &f) {
		return err
	}
	outcome := ErrUnavailable
	switch f.Outcome {
	case grant.Reconnect:
		outcome = ErrReconnect
	case grant.Upstream:
		outcome = ErrUpstream
	case grant.BadRequest:
		outcome = ErrBadRequest
	}
	return fail(op, outcome, f.Err)
}

// fail returns a new error with the outcome of a sentinel.
func fail(op string, outcome *Error, cause error) *Error {
	return &Error{Op: op, Code: outcome.Code, Description: outcome.Description, Status: outcome.Status, Err: cause}
}
