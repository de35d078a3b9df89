package browsers

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/grant"
	"github.com/mxmconnect/mxmconnect/core/internal/recovery"
	"github.com/mxmconnect/mxmconnect/core/internal/seal"
)

const purpose = "browsers"

var errContents = errors.New("the record is not a list of browsers")

// change ends what is marked in the user's list, and then lets edit change it.
// edit reports whether it did. It runs again if somebody else was faster, or if
// a write of its own may have succeeded: then it finds what it has done.
func (b *Book) change(ctx context.Context, user string, edit func(*list) (bool, error)) error {
	key := b.key(user)
	for {
		l, version, err := b.read(ctx, key)
		if err != nil {
			return err
		}
		ended, err := b.end(ctx, &l)
		if err != nil {
			return err
		}
		edited, err := edit(&l)
		if err != nil || !edited && !ended {
			return err
		}
		if done, err := b.write(ctx, key, version, l); done || err != nil {
			return err
		}
	}
}

// end ends the sessions that are marked. They leave the list, and so do those
// whose time is over.
func (b *Book) end(ctx context.Context, l *list) (ended bool, err error) {
	for _, browser := range l.Browsers {
		if !browser.Marked {
			continue
		}
		if err := b.opts.Sessions.End(ctx, browser.Key, browser.gone()); err != nil {
			return false, err
		}
		ended = true
	}
	now := time.Now()
	l.Browsers = slices.DeleteFunc(l.Browsers, func(b Browser) bool { return b.Marked || now.After(b.gone()) })
	return ended, nil
}

// read returns the list at key, which is empty if there is none. A list that no
// key opens is an error and stays as it is.
func (b *Book) read(ctx context.Context, key string) (l list, version string, err error) {
	defer recovery.Catch(&err)
	rec, found, err := b.opts.Store.FindGrant(ctx, key)
	if err != nil || !found {
		return list{}, "", err
	}
	plain, err := b.opts.Keys.Open(purpose, key, rec.Data)
	if err != nil {
		return list{}, "", err
	}
	if json.Unmarshal(plain, &l) != nil {
		return list{}, "", errContents
	}
	return l, rec.Version, nil
}

// write puts l in the place of the version old, and reports whether it did. If
// the store's answer is lost, it reads back.
func (b *Book) write(ctx context.Context, key, old string, l list) (done bool, err error) {
	defer recovery.Catch(&err)
	plain, err := json.Marshal(l)
	if err != nil {
		return false, err
	}
	rec := grant.Record{
		Data: b.opts.Keys.Seal(purpose, key, plain), Version: seal.RandomString(),
		Expiry: time.Now().Add(b.opts.Lifetime + margin), // of every session that knows an older epoch
	}
	for _, browser := range l.Browsers {
		if end := browser.gone(); end.After(rec.Expiry) {
			rec.Expiry = end
		}
	}
	err = b.opts.Store.CommitGrant(ctx, key, old, rec)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, grant.ErrConflict):
		return false, nil
	}
	stored, _, findErr := b.opts.Store.FindGrant(ctx, key)
	switch {
	case findErr != nil || stored.Version == old:
		return false, err
	}
	return stored.Version == rec.Version, nil
}
