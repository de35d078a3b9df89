package core

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/grant"
	"github.com/mxmconnect/mxmconnect/core/internal/recovery"
)

// EventKind names a thing that an operator counts.
type EventKind string

// The kinds of events.
const (
	EventLogin         EventKind = "login"
	EventLoginFailed   EventKind = "login_failed"
	EventLogout        EventKind = "logout"
	EventConnect       EventKind = "connect"
	EventDisconnect    EventKind = "disconnect"
	EventRefresh       EventKind = "refresh"
	EventRefreshFailed EventKind = "refresh_failed" // the grant is alive; a later attempt may succeed
	EventReconnect     EventKind = "reconnect"      // the grant is lost: exactly one event for each terminal loss
	EventRepaired      EventKind = "repaired"       // a store that had lost its last write was given it back
	EventAppToken      EventKind = "app_token"
)

// Event is one thing that happened. It never holds a token, a code or a
// secret, and User is a keyed hash of the Musixmatch user ID: the same for all
// instances with the same client secret, useless to anybody else.
type Event struct {
	Kind EventKind
	// Reason says why, and is empty where there is nothing to add. Of an
	// EventReconnect it is one of "revoked", "lost_response", "store_lost_write",
	// "sub_changed" and "no_refresh_token".
	Reason string
	User   string
	Took   time.Duration // zero of what takes no time
	Err    error         // the cause of a failure, or nil
}

// emit logs the event and hands it to Config.OnEvent.
func (a *Auth) emit(ctx context.Context, e Event) {
	level := slog.LevelInfo
	switch e.Kind {
	case EventLoginFailed, EventRefreshFailed, EventReconnect, EventRepaired:
		level = slog.LevelWarn
	}
	if a.log.Enabled(ctx, level) {
		attrs := make([]slog.Attr, 0, 4)
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
		a.log.LogAttrs(ctx, level, "musixmatch "+string(e.Kind), attrs...)
	}
	if a.cfg.OnEvent == nil {
		return
	}
	var err error
	func() {
		defer recovery.Catch(&err)
		a.cfg.OnEvent(ctx, e)
	}()
	if err != nil {
		a.log.ErrorContext(ctx, "musixmatch: OnEvent failed", slog.String("error", err.Error()))
	}
}

// userHash is how a user appears in events and logs.
func (a *Auth) userHash(sub string) string {
	if sub == "" {
		return ""
	}
	mac := hmac.New(sha256.New, a.eventKey[:])
	mac.Write([]byte(sub))
	return hex.EncodeToString(mac.Sum(nil)[:8])
}

// report makes an event of what package grant reports.
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
