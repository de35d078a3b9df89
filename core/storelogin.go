package core

import (
	"cmp"
	"context"
	"errors"
	"time"
)

// storeLogin keeps the tokens of a new login as the user's grant, over
// whatever is there. A store that failed may have stored them all the same;
// that is found out by the version, so an error means that it did not.
func (a *Auth) storeLogin(ctx context.Context, sub string, t *tokens) error {
	gr := grant{
		Sub: sub, GrantID: randomString(), Status: grantLive,
		Access: t.Access, Refresh: t.Refresh, Scope: t.Scope,
		Issued: t.Issued, Dated: t.Dated, ExpiresIn: t.ExpiresIn,
	}
	for {
		old, version, _, err := a.grants.find(ctx, sub)
		if err != nil && version == "" {
			return err // the store failed; a record that does not open has a version, and is replaced
		}
		if err = a.replaceGrant(ctx, version, old, gr); !errors.Is(err, ErrConflict) {
			return err
		}
	}
}

// replaceGrant stores gr over old, the record of that version.
func (a *Auth) replaceGrant(ctx context.Context, version string, old, gr grant) error {
	// The server's clock lifts the count above all that a lost record of
	// this key can have reached.
	gr.Gen = max(old.Gen+1, a.refresher.remembered(gr.Sub).Gen+1, gr.Issued.UnixMilli())
	// A refresh of the grant that this one replaces may be under way, and kill
	// these access tokens with its own: then inactive would prove nothing.
	gr.Dated = gr.Dated && old.Intent == nil
	err := a.commitSurely(ctx, version, gr)
	if err == nil {
		a.refresher.learn(gr)
	}
	return err
}

// commitSurely commits gr over the version old and, where the store's answer
// was lost, reads back whether the write took place.
func (a *Auth) commitSurely(ctx context.Context, old string, gr grant) error {
	version, err := a.grants.commit(ctx, old, gr)
	if err == nil {
		return nil
	}
	if _, stored, found, findErr := a.grants.find(ctx, gr.Sub); findErr == nil && found && stored == version {
		return nil
	}
	return err
}

// endGrant replaces the grant with a tombstone, whatever rotation is under
// way, and returns the tokens that it held. A login made meanwhile is another
// grant, and stays.
//
// Where there is nothing to end a tombstone is written all the same: the write
// of a login that was given up may still be on its way, or the store may find
// again what it has lost.
func (a *Auth) endGrant(ctx context.Context, sub string) (last grant, err error) {
	named := ""
	for again := false; ; again = true {
		remembered := a.refresher.remembered(sub)
		gr, version, found, err := a.grants.find(ctx, sub)
		if err != nil {
			return grant{}, err
		}
		if !found {
			gr = remembered
			gr.Gen = max(gr.Gen, a.musixmatch.clock.now().UnixMilli())
		}
		switch {
		case again && named != "" && gr.GrantID != named:
			return grant{}, nil // to revoke the tokens that were replaced might end the login
		case again && gr.Status == grantDisconnected:
			return last, nil
		}
		tombstone := grant{
			Sub: sub, GrantID: cmp.Or(gr.GrantID, randomString()), Status: grantDisconnected,
			Gen: max(gr.Gen, remembered.Gen) + 1, Issued: time.Now(),
		}
		named, last = gr.GrantID, gr
		err = a.commitSurely(ctx, version, tombstone)
		if err == nil {
			a.refresher.learn(tombstone)
		}
		if !errors.Is(err, ErrConflict) {
			return last, err
		}
	}
}

// remembered returns the record of the highest gen that this process has seen,
// or a zero grant.
func (r *refresher) remembered(sub string) grant {
	if k := r.keepers.find(sub); k != nil {
		if memory, _ := k.recall(); memory != nil {
			return *memory
		}
	}
	return grant{}
}

// learn takes note of a login or a disconnect that was written here, so that
// this process serves no older token from then on, and repairs a store that
// loses it.
func (r *refresher) learn(gr grant) {
	k := r.keepers.locked(gr.Sub)
	k.mu.Unlock()
	k.remember(gr)
	if gr.Status == grantLive {
		k.show(r.serve(k, gr), gr.Gen)
	} else {
		k.cached.Store(nil)
	}
}
