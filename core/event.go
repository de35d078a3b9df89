package core

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/grant"
	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
	"github.com/mxmconnect/mxmconnect/core/internal/recovery"
)

// EventKind names what happened. Operators count events by kind and reason.
type EventKind string

// The kinds of events.
const (
	EventLogin         EventKind = "login"
	EventLoginFailed   EventKind = "login_failed"
	EventRefused       EventKind = "refused" // a POST from another site's page, or a request that needs a user
	EventLogout        EventKind = "logout"
	EventConnect       EventKind = "connect"
	EventDisconnect    EventKind = "disconnect"
	EventRefresh       EventKind = "refresh"
	EventRefreshFailed EventKind = "refresh_failed" // the grant is alive; a later attempt may succeed
	EventReconnect     EventKind = "reconnect"      // the grant is lost: exactly one event for each loss
	EventRepaired      EventKind = "repaired"       // the store, or what was believed of a grant, was put right
	EventAppToken      EventKind = "app_token"
	EventSweep         EventKind = "sweep" // of Maintain; with Err it could not be finished, and is tried again
)

// Event is one thing that happened. It never holds a token, a code or a
// secret. User is a keyed hash of the Musixmatch user ID. It is the same on all
// instances with the same client secret, and useless to anybody else.
//
// These are the reasons of each kind; the other kinds have none.
//
//	login_failed    the Code of the outcome: bad_request, bad_state, denied,
//	                login_refused, unavailable, upstream, user_changed; or
//	  abandoned         the browser left while the callback waited for its turn
//
//	logout          none, or
//	  session           by EndSession
//	  everywhere        by SignOutEverywhere
//
//	refused         the Code of the outcome: cross_origin, not_connected,
//	                not_signed_in, unavailable
//
//	refresh         none, or
//	  scope_reduced     Musixmatch granted fewer scopes than before
//	  unrotated         no new refresh token came with the answer
//	  salvaged          the answer had a defect, and its tokens are kept
//
//	refresh_failed
//	  unavailable       Musixmatch or the store did not answer, or is busy
//	  upstream          Musixmatch gave an unexpected answer
//	  invalid_client    Musixmatch refused the client ID or secret
//	  decrypt_failed    no key of Config.Keys opens the grant
//	  race_lost         another instance spent the refresh token
//	  dropped           the new tokens came after the grant was ended or replaced
//
//	reconnect
//	  revoked           Musixmatch refused a refresh token that was spent once
//	  lost_response     the new tokens were in an answer that reached nobody
//	  store_lost_write  the store lost the newest tokens, as after a restore
//	  sub_changed       the new tokens are another user's
//	  no_refresh_token  the access token has ended and nothing can renew it
//
//	repaired
//	  store_regressed   the store had an older grant than this process
//	  mark_lifted       a grant that was believed lost is alive
//
//	app_token       none, or unavailable, upstream or invalid_client
type Event struct {
	Kind   EventKind
	Reason string // one of the above, or empty
	User   string
	Took   time.Duration // zero if it takes no time
	Err    error         // the cause of a failure, or nil
}

// emit logs the event and hands it to Config.OnEvent. A panic of either ends
// nothing that the event is about.
func (a *Auth) emit(ctx context.Context, e Event) {
	var bug error
	defer recovery.Catch(&bug)
	level := slog.LevelInfo
	switch e.Kind {
	case EventLoginFailed, EventRefreshFailed, EventReconnect, EventRepaired:
		level = slog.LevelWarn
	}
	var call *musixmatch.CallError
	wrongClient := errors.As(e.Err, &call) && call.WrongClient()
	if wrongClient {
		level = slog.LevelError
	}
	if a.log.Enabled(ctx, level) {
		attrs := make([]slog.Attr, 0, 5)
		if e.Reason != "" {
			attrs = append(attrs, slog.String("reason", e.Reason))
		}
		if e.User != "" {
			attrs = append(attrs, slog.String("user", e.User))
		}
		if e.Took > 0 {
			attrs = append(attrs, slog.Duration("took", e.Took))
		}
		if e.Err != nil {
			attrs = append(attrs, slog.String("error", e.Err.Error()))
		}
		if wrongClient {
			attrs = append(attrs, slog.String("do", "check ClientID and ClientSecret"))
		}
		a.log.LogAttrs(ctx, level, "musixmatch "+string(e.Kind), attrs...)
	}
	if a.cfg.OnEvent == nil {
		return
	}
	_ = a.callBack(ctx, "OnEvent", func() error { a.cfg.OnEvent(ctx, e); return nil })
}

// callBack calls a function of the application. It logs an error, and makes one of a panic.
func (a *Auth) callBack(ctx context.Context, name string, call func() error) (err error) {
	func() {
		defer recovery.Catch(&err)
		err = call()
	}()
	if err != nil {
		a.log.ErrorContext(ctx, "musixmatch: "+name+" failed", slog.String("error", err.Error()))
	}
	return err
}

// warned says which mistakes in the set-up the operator has been told of.
type warned struct{ host, middleware, origin, prefix sync.Once }

// warnOnce logs a mistake in the set-up that only a request shows.
func (a *Auth) warnOnce(once *sync.Once, r *http.Request, problem string, attrs ...slog.Attr) {
	once.Do(func() {
		a.log.LogAttrs(r.Context(), slog.LevelWarn, "musixmatch: "+problem, attrs...)
	})
}

// emitAside is emit for an event of a token that others wait for. It waits for a
// moment only, since who takes the event may ask for that token.
func (a *Auth) emitAside(ctx context.Context, e Event) {
	a.grants.Tell(func() { a.emit(ctx, e) })
}

// userHash returns how a user appears in events and logs.
func (a *Auth) userHash(sub string) string {
	if sub == "" {
		return ""
	}
	mac := hmac.New(sha256.New, a.eventKey[:])
	mac.Write([]byte(sub))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// report turns a report of package grant into an event.
func (a *Auth) report(ctx context.Context, r grant.Report) {
	e := Event{Reason: r.Reason, User: a.userHash(r.Sub), Took: r.Took, Err: r.Err}
	switch r.Kind {
	case grant.Refreshed:
		e.Kind = EventRefresh
	case grant.RefreshFailed:
		e.Kind = EventRefreshFailed
	case grant.Lost:
		e.Kind = EventReconnect
	case grant.Repaired:
		e.Kind = EventRepaired
	case grant.Uncalibrated:
		a.log.WarnContext(ctx, "musixmatch: a refresh leaves the old access token active here; lost answers will be resolved by waiting and replaying")
		return
	}
	a.emit(ctx, e)
}
