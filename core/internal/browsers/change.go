package browsers

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/grant"
	"github.com/mxmconnect/mxmconnect/core/internal/recovery"
	"github.com/mxmconnect/mxmconnect/core/internal/seal"
)

const purpose = "browsers"

var errContents = errors.New("the record is not a list of browsers")

// batch is how many sessions are ended before the list is written. What is
// written need not be done again by whoever goes on.
const batch = 10

// change ends what is marked in the user's list, and then lets edit change it.
// edit reports whether it did; if not, a session that could not be ended is an
// error. It runs again if somebody else was faster, or if a write of its own may
// have succeeded: then it finds what it has done.
func (b *Book) change(ctx context.Context, user string, edit func(*list) (bool, error)) error {
	key := b.key(user)
	for {
		l, version, err := b.read(ctx, key)
		if err != nil {
			return err
		}
		ended, more, failed := b.end(ctx, &l)
		edited := false
		if !more {
			if edited, err = edit(&l); err != nil {
				return err
			}
		}
		if !edited && !ended {
			return failed
		}
		switch done, err := b.write(ctx, key, version, l); {
		case err != nil:
			return err
		case done && edited:
			return nil
		case done && !more:
			return failed
		}
	}
}

// end ends a batch of the sessions that are marked, and reports whether there
// are more. They leave the list, and so do those whose time is over. One that
// cannot be ended stays, and keeps none of the others.
func (b *Book) end(ctx context.Context, l *list) (ended, more bool, err error) {
	now, n := time.Now(), 0
	var stay []Browser
	for _, browser := range l.Browsers {
		switch {
		case browser.Marked && n == batch:
			more = true
			stay = append(stay, browser)
		case browser.Marked:
			if e := b.opts.Sessions.End(ctx, browser.Key, browser.gone()); e != nil {
				err = e
				stay = append(stay, browser)
				continue
			}
			n++
		case !now.After(browser.gone()):
			stay = append(stay, browser)
		}
	}
	l.Browsers = stay
	return n > 0, more, err
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
