package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/grant"
)

// Maintenance configures [Auth.Maintain]. The zero value of every field is a good default.
type Maintenance struct {
	// Every is the time from the beginning of one sweep to that of the next.
	// Defaults to 1 h; at least 1 s.
	Every time.Duration
	// KeepAlive is how long no refresh token stays unused: a grant is refreshed
	// between 0.8 and 1 times KeepAlive after its last refresh, and never sooner. It
	// must be longer than Every, and shorter than Musixmatch lets an unused refresh
	// token live. Negative: off. Defaults to 7 days.
	KeepAlive time.Duration
	// ForgetLost is how long a lost grant is known as lost. Negative: for 90 days,
	// when it ends by itself. Defaults to 90 days.
	ForgetLost time.Duration
	// ForgetUnused is after how long without use a grant is ended, as by
	// [Auth.Disconnect]. A grant is used when the user signs in, and when a caller
	// needs a refresh; KeepAlive is no use. Do not set it if your application takes
	// nothing but the user ID of a sign-in. Defaults to never.
	ForgetUnused time.Duration
	// PerSecond bounds the calls to Musixmatch: a refresh is one, and so is each
	// question to token-metadata. A refresh needs two calls, usually. Defaults to 5.
	PerSecond float64
	// OnSweep is called after each sweep, on the instance that ended it. The next
	// one waits for it. Defaults to nil.
	OnSweep func(context.Context, Sweep)
}

// Sweep is what one sweep of [Auth.Maintain] has found and done. A grant may be
// counted twice, where the store returned its key twice.
type Sweep struct {
	Started time.Time
	Took    time.Duration

	Live, Reconnect, Disconnected int // grants by status; Disconnected is kept for a day
	InDoubt                       int // a refresh is under way, or its outcome is not known
	Unacknowledged                int // Config.OnGrantStatus has yet to acknowledge their status

	Refreshed, Resealed, Forgotten int // done in this sweep
	Failures                       int // grants for which something failed: the store, Musixmatch, or a key that is missing

	OldestRefresh time.Time // of the live grants; zero if there are none

	// OlderKeys and UnknownKeys count the records that were found sealed with
	// another key of Config.Keys than the first, and with none of them, by the ID of
	// the key. A key is not needed any more when a sweep that started after all
	// instances sealed with another reports none for it.
	OlderKeys, UnknownKeys map[string]int
}

const (
	defaultEvery     = time.Hour
	defaultKeepAlive = 7 * 24 * time.Hour
	longestMark      = 90 * 24 * time.Hour
	defaultPerSecond = 5
)

// Maintain keeps the grants that nobody uses, and those that wait for somebody, in
// order: every hour, for as long as ctx lasts. Run it on any number of instances, one
// of them at least:
//
//	go auth.Maintain(ctx, core.Maintenance{})
//
// One instance at a time sweeps over all grants in Config.Grants, by a claim in that
// store. If it stops or crashes, another goes on where it was, after a minute. A sweep
//
//   - refreshes what KeepAlive makes due, so that no refresh token dies unused, and
//     nothing while Musixmatch asks to be left alone;
//   - finds out about refreshes whose answer was lost;
//   - seals with the first of Config.Keys what an older one has sealed, which spends
//     no token;
//   - calls Config.OnGrantStatus where that has yet to acknowledge;
//   - forgets lost grants, and, if asked to, unused ones.
//
// A user who signs in or disconnects meanwhile wins. Maintain returns nil when ctx
// is done or Close was called. Otherwise it returns an error at once: [ErrUnsupported]
// if Config.Grants is no [GrantLister], or one that names the fields that are wrong.
// A failure of the store or of Musixmatch does not end it; see [EventSweep].
func (a *Auth) Maintain(ctx context.Context, m Maintenance) error {
	if err := m.complete(); err != nil {
		return fmt.Errorf("musixmatch: maintain: %w", err)
	}
	err := a.grants.Maintain(ctx, grant.Maintenance{
		Every: m.Every, KeepAlive: m.KeepAlive, ForgetLost: m.ForgetLost, ForgetUnused: m.ForgetUnused, PerSecond: m.PerSecond,
		Swept: func(ctx context.Context, s grant.Sweep, err error) { a.swept(ctx, m, Sweep(s), err) },
	})
	if errors.Is(err, grant.ErrCannotList) {
		return fail("maintain", ErrUnsupported, err)
	}
	return err
}

// complete sets the defaults and returns every mistake.
func (m *Maintenance) complete() error {
	defaults := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	defaults(&m.Every, defaultEvery)
	defaults(&m.KeepAlive, defaultKeepAlive)
	defaults(&m.ForgetLost, longestMark)
	if m.PerSecond == 0 {
		m.PerSecond = defaultPerSecond
	}
	var errs []error
	check := func(ok bool, mistake string) {
		if !ok {
			errs = append(errs, errors.New(mistake))
		}
	}
	check(m.Every >= time.Second, "Every must be at least 1 s")
	check(m.KeepAlive < 0 || m.KeepAlive > m.Every, "KeepAlive must be longer than Every")
	check(m.ForgetLost <= longestMark, "ForgetLost must be at most 90 days")
	check(m.ForgetUnused >= 0, "ForgetUnused must not be negative")
	check(m.PerSecond > 0, "PerSecond must be positive")
	return errors.Join(errs...)
}

// swept tells what came of a sweep.
func (a *Auth) swept(ctx context.Context, m Maintenance, s Sweep, err error) {
	if m.KeepAlive > 0 {
		// A grant is due after 0.9 times KeepAlive on average, and takes two calls.
		if needed := 2 * float64(s.Live) / (0.9 * m.KeepAlive.Seconds()); needed > m.PerSecond {
			a.log.WarnContext(ctx, "musixmatch: Maintenance.PerSecond is too low to keep all grants alive",
				slog.Int("grants", s.Live), slog.Float64("per_second", m.PerSecond), slog.Float64("needed", needed))
		}
	}
	a.emit(ctx, Event{Kind: EventSweep, Took: s.Took, Err: err})
	if err != nil || m.OnSweep == nil {
		return
	}
	a.callBack(ctx, "OnSweep", func() error { m.OnSweep(ctx, s); return nil })
}

// onGrantStatus is what package grant calls; nil if nobody wants to know.
func (a *Auth) onGrantStatus() func(context.Context, grant.Info) error {
	if a.cfg.OnGrantStatus == nil {
		return nil
	}
	return func(ctx context.Context, i grant.Info) error {
		return a.callBack(ctx, "OnGrantStatus", func() error { return a.cfg.OnGrantStatus(ctx, grantInfo(i)) })
	}
}
