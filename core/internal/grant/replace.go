package grant

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
	"github.com/mxmconnect/mxmconnect/core/internal/seal"
)

// Put keeps the tokens of a new login as the user's grant, over
// whatever is there. A store that failed may have stored them all the same;
// that is found out by the version, so an error means that it did not.
func (m *Manager) Put(ctx context.Context, sub string, t *musixmatch.Tokens) error {
	gr := grant{
		Sub: sub, GrantID: seal.RandomString(), Status: statusLive,
		Access: t.Access, Refresh: t.Refresh, Scope: t.Scope,
		Issued: t.Issued, ExpiryKnown: t.ExpiryKnown, ExpiresIn: t.ExpiresIn,
	}
	for {
		old, version, _, err := m.records.find(ctx, sub)
		if err != nil && version == "" {
			return err // the store failed; a record that does not open has a version, and is replaced
		}
		if err = m.replaceGrant(ctx, version, old, gr, t.Date); !errors.Is(err, ErrConflict) {
			return err
		}
	}
}

// replaceGrant stores gr over old, the record of that version.
func (m *Manager) replaceGrant(ctx context.Context, version string, old, gr grant, date time.Time) error {
	// The server's clock lifts the count above all that a lost record of
	// this key can have reached.
	gr.Generation = max(old.Generation+1, m.remembered(gr.Sub).Generation+1, date.UnixMilli())
	// A refresh of the grant that this one replaces may be under way, and kill
	// these access tokens with its own: then inactive would prove nothing.
	gr.ExpiryKnown = gr.ExpiryKnown && old.Intent == nil
	err := m.commitSurely(ctx, version, gr)
	if err == nil {
		m.learn(gr)
	}
	return err
}

// commitSurely commits gr over the version old and, where the store's answer
// was lost, reads back whether the write took place.
func (m *Manager) commitSurely(ctx context.Context, old string, gr grant) error {
	version, err := m.records.commit(ctx, old, gr)
	if err == nil {
		return nil
	}
	if _, stored, found, findErr := m.records.find(ctx, gr.Sub); findErr == nil && found && stored == version {
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
	if last.Refresh == "" && last.Access == "" {
		return false, nil
	}
	m.server.Revoke(ctx, last.Refresh)
	return true, nil
}

// end replaces the grant with a tombstone, whatever rotation is under
// way, and returns the tokens that it held. A login made meanwhile is another
// grant, and stays.
//
// Where there is nothing to end a tombstone is written all the same: the write
// of a login that was given up may still be on its way, or the store may find
// again what it has lost.
func (m *Manager) end(ctx context.Context, sub string) (last grant, err error) {
	named := ""
	for again := false; ; again = true {
		remembered := m.remembered(sub)
		gr, version, found, err := m.records.find(ctx, sub)
		if err != nil {
			return grant{}, err
		}
		if !found {
			gr = remembered
			now, _ := m.server.Now()
			gr.Generation = max(gr.Generation, now.UnixMilli())
		}
		switch {
		case again && named != "" && gr.GrantID != named:
			return grant{}, nil // to revoke the tokens that were replaced might end the login
		case again && gr.Status == statusDisconnected:
			return last, nil
		}
		tombstone := grant{
			Sub: sub, GrantID: cmp.Or(gr.GrantID, seal.RandomString()), Status: statusDisconnected,
			Generation: max(gr.Generation, remembered.Generation) + 1, Issued: time.Now(),
		}
		named, last = gr.GrantID, gr
		err = m.commitSurely(ctx, version, tombstone)
		if err == nil {
			m.learn(tombstone)
		}
		if !errors.Is(err, ErrConflict) {
			return last, err
		}
	}
}

// remembered returns the record of the highest gen that this process has seen,
// or a zero grant.
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
// loses it.
func (m *Manager) learn(gr grant) {
	e := m.entries.locked(gr.Sub)
	e.mu.Unlock()
	e.remember(gr)
	if gr.Status == statusLive {
		e.show(m.serve(e, gr), gr.Generation)
	} else {
		e.cached.Store(nil)
	}
}
