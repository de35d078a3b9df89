package grant

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
	"github.com/mxmconnect/mxmconnect/core/internal/seal"
)

// Put keeps the tokens of a new login as the user's grant, over whatever is
// there. A store that failed may have stored them all the same; that is found out
// by reading back, so an error means that it did not, or that nobody knows:
// then it wraps [ErrUnread].
func (m *Manager) Put(ctx context.Context, sub string, t *musixmatch.Tokens) error {
	gr := grant{
		Sub: sub, GrantID: seal.RandomString(), Status: statusLive,
		Access: t.Access, Refresh: t.Refresh, Scope: t.Scope,
		Issued: t.Issued, ExpiryKnown: t.ExpiryKnown, ExpiresIn: t.ExpiresIn,
		Connected: t.Issued, Since: t.Issued,
	}
	date := t.Date
	if date.IsZero() {
		date, _ = m.server.Now()
	} else {
		m.dated.note(date, m.now())
	}
	for n := 1; ; n++ {
		old, version, _, err := m.records.find(ctx, sub)
		if err != nil && version == "" {
			return err // the store failed; a record that does not open has a version, and is replaced
		}
		lift := date
		if err != nil {
			lift = date.Add(2 * tombstoneLead) // above any generation that it can have
		}
		if err = m.replaceGrant(ctx, version, old, gr, lift); !errors.Is(err, ErrConflict) {
			return err
		}
		if err := m.conflicted(ctx, n); err != nil {
			return err
		}
	}
}

// conflicted waits after the n-th conflict in a row: not for the first three,
// which come of others that are at work.
func (m *Manager) conflicted(ctx context.Context, n int) error {
	if n <= 3 {
		return nil
	}
	t := time.NewTimer(m.backoff(n - 3))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// replaceGrant stores gr over old, the record of that version. date is the
// server's, and lifts the generation above all that a lost record of this key can
// have reached.
func (m *Manager) replaceGrant(ctx context.Context, version string, old, gr grant, date time.Time) error {
	remembered := m.remembered(gr.Sub)
	gr.Generation = max(old.Generation+1, remembered.Generation+1, date.UnixMilli())
	gr.MaxLease = max(old.MaxLease, remembered.MaxLease)
	gr.Acknowledged = old.lastLoss()
	// A refresh of the grant that this one replaces may be under way, and kill
	// these access tokens with its own: then inactive would prove nothing.
	gr.ExpiryKnown = gr.ExpiryKnown && old.Intent == nil
	err := m.commitSurely(ctx, version, gr)
	if err == nil {
		m.learn(gr, "")
		m.statusChanged(gr)
	}
	return err
}

// commitSurely commits gr over the version old. An error means that it did not
// take place, as far as the store can be read.
func (m *Manager) commitSurely(ctx context.Context, old string, gr grant) error {
	_, out, err := m.records.replace(ctx, old, gr)
	if out == writeDone {
		return nil
	}
	return err
}

// End ends the grant: its tokens are deleted here, and revoked at the server if
// it says how. It reports whether there was one.
func (m *Manager) End(ctx context.Context, sub string) (ended bool, err error) {
	last, err := m.end(ctx, sub)
	if err != nil {
		return false, unavailable(err)
	}
	if token := m.takeUnrevoked(sub); token != "" {
		m.server.Revoke(ctx, token)
		return true, nil
	}
	return last.Access != "", nil
}

// end replaces the grant with a tombstone, whatever rotation is under way, and
// returns what was there. A login made meanwhile is another grant, and stays.
//
// Where there is nothing to end a tombstone is written all the same: the write
// of a login that was given up may still be on its way, or the store may find
// again what it has lost.
func (m *Manager) end(ctx context.Context, sub string) (last grant, err error) {
	named := ""
	for n := 0; ; n++ {
		if err := m.conflicted(ctx, n); err != nil {
			return grant{}, err
		}
		remembered := m.remembered(sub)
		gr, version, found, err := m.records.find(ctx, sub)
		if err != nil {
			return grant{}, err
		}
		if !found {
			gr = remembered
		}
		switch {
		case n > 0 && named != "" && gr.GrantID != named:
			return grant{}, nil // to revoke the tokens that were replaced might end the login
		case n > 0 && gr.Status == statusDisconnected:
			return last, nil
		}
		gr.Sub = sub
		tombstone := m.tombstone(ctx, gr, remembered)
		named, last = gr.GrantID, gr
		switch err = m.commitSurely(ctx, version, tombstone); {
		case err == nil:
			m.learn(tombstone, gr.Refresh)
			return last, nil
		case !errors.Is(err, ErrConflict):
			m.keepUnrevoked(sub, gr.Refresh) // it may have taken place
			return last, err
		}
	}
}

// tombstone returns what ends gr. remembered is what this process knew before it
// was read. Nothing else of gr is kept: no token, and nothing that may be one.
func (m *Manager) tombstone(ctx context.Context, gr, remembered grant) grant {
	return grant{
		Sub: gr.Sub, GrantID: cmp.Or(gr.GrantID, seal.RandomString()), Status: statusDisconnected,
		Generation: max(gr.Generation, remembered.Generation, m.tombstoneDate(ctx, gr).UnixMilli()) + 1,
		MaxLease:   max(gr.MaxLease, remembered.MaxLease), Issued: time.Now(),
	}
}

// tombstoneLead is what a tombstone is ahead where nobody knows the server's time.
const tombstoneLead = time.Hour

// dateResolution is how much a Date header leaves out (RFC 9110 section 5.6.7).
const dateResolution = time.Second

// tombstoneDate is the server's time, at the earliest, so that no login that
// the store has lost has a higher generation than the tombstone. It is known by an
// answer of the last minute or one that is fetched for the purpose. If there is
// none, an hour is added to what we believe it to be: the price is a second
// sign-in, should the store lose the tombstone.
func (m *Manager) tombstoneDate(ctx context.Context, gr grant) time.Time {
	if date, ok := m.dated.latest(m.now()); ok {
		return date.Add(dateResolution)
	}
	if gr.Access != "" {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		if in, err := m.introspect(ctx, gr.Access); err == nil && in.Dated {
			return in.Date.Add(dateResolution)
		}
	}
	now, _ := m.server.Now()
	return now.Add(tombstoneLead)
}

// remembered returns the record of the highest generation that this process has
// seen, or a zero grant.
func (m *Manager) remembered(sub string) grant {
	if e := m.entries.find(sub); e != nil {
		if memory, _ := e.recall(); memory != nil {
			return *memory
		}
	}
	return grant{}
}

// learn takes note of a login or a disconnect that was written here, so that
// this process serves no older token from then on, and repairs a store that
// loses it. unrevoked is the refresh token that was ended with it, or "".
func (m *Manager) learn(gr grant, unrevoked string) {
	e := m.entries.locked(gr.Sub)
	e.note(gr, m.now())
	if gr.Status == statusLive {
		e.active.Store(gr.Generation) // nothing is stored here that was not
	}
	if e.unrevoked == "" || gr.Status == statusLive {
		e.unrevoked = unrevoked
	}
	e.mu.Unlock()
	if gr.Status == statusLive {
		e.show(m.serve(e, gr), gr.Generation)
	} else {
		e.cached.Store(nil)
	}
}

// keepUnrevoked remembers a refresh token whose grant may have ended, for the
// next attempt to end it.
func (m *Manager) keepUnrevoked(sub, token string) {
	e := m.entries.locked(sub)
	defer e.mu.Unlock()
	if token != "" {
		e.unrevoked = token
	}
}

func (m *Manager) takeUnrevoked(sub string) (token string) {
	e := m.entries.locked(sub)
	defer e.mu.Unlock()
	token, e.unrevoked = e.unrevoked, ""
	return token
}
