// Package browsers knows in which browsers a user is signed in, and signs them
// out. It keeps one sealed list per user in the store of grants, and changes it
// by compare-and-swap.
//
// Order makes that safe, whoever else writes and wherever a process dies:
//
//   - A session is listed before it is committed. One that is renewed takes the
//     place of the session before it, unless that is not listed any more.
//   - To end sessions, one write marks them. From then on they are not renewed.
//     Only then they are ended in the session store, and only then they leave
//     the list.
//   - Whoever changes the list ends what is marked first, as far as the session
//     store can. So nothing stays marked after a crash.
package browsers

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/grant"
	"github.com/mxmconnect/mxmconnect/core/internal/seal"
	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

const (
	// limit is how many browsers a list holds. The one that signed in first goes.
	limit = 100
	// margin is how much longer than its session an entry stays: more than
	// any two clocks differ.
	margin = time.Hour
	// finishTime is how long ending what was marked may take.
	finishTime = 15 * time.Second
)

// ErrNotFound is the error of [Book.End] for an ID that is not listed.
var ErrNotFound = errors.New("no such session")

// Options is what a [Book] needs. All fields are required.
type Options struct {
	Store    Store
	Sessions Sessions
	Keys     seal.Keyring
	Lifetime time.Duration // of a session
	// BaseURL and ClientID tell the users of this client from all others.
	BaseURL, ClientID string
}

// Store keeps the lists.
type Store interface {
	FindGrant(ctx context.Context, key string) (r grant.Record, found bool, err error)
	CommitGrant(ctx context.Context, key, old string, r grant.Record) error
}

// Sessions ends a session until it would have ended anyway, so that no later
// commit brings it back. It need not have been committed yet.
type Sessions interface {
	End(ctx context.Context, key string, until time.Time) error
}

// Book keeps the lists of all users. It is safe for concurrent use, also by
// several processes with one store.
type Book struct{ opts Options }

// New returns the Book of one client.
func New(o Options) *Book { return &Book{o} }

// list is what is kept of one user.
type list struct {
	// Epoch grows when all sessions are ended, and a session remembers the epoch
	// that it began in. So one whose entry a failover lost ends, too.
	Epoch    int64     `json:"epoch,omitempty"` // Unix milliseconds, or later
	Browsers []Browser `json:"browsers,omitempty"`
}

// Browser is one session of a user.
type Browser struct {
	ID       string `json:"id"`  // says nothing about the session
	Key      string `json:"key"` // of its session in the session store
	SignedIn int64  `json:"in"`  // Unix seconds
	Until    int64  `json:"until"`
	Name     string `json:"name"`
	Marked   bool   `json:"marked,omitempty"` // its session is being ended
}

func (b Browser) gone() time.Time { return time.Unix(b.Until, 0).Add(margin) }

func (l *list) index(key string) int {
	return slices.IndexFunc(l.Browsers, func(b Browser) bool { return b.Key == key })
}

// Enter lists a session that is about to be committed for the first time.
func (b *Book) Enter(ctx context.Context, e session.Entry) (epoch int64, err error) {
	entry := Browser{
		ID: seal.RandomString(), Key: e.Key, Name: Name(e.UserAgent),
		SignedIn: time.Now().Unix(), Until: e.Until.Unix(),
	}
	full := false
	err = b.change(ctx, e.User, func(l *list) (bool, error) {
		epoch = l.Epoch
		if l.index(e.Key) >= 0 { // by a write whose answer was lost
			return false, nil
		}
		l.Browsers = append(l.Browsers, entry)
		if full = len(l.Browsers) > limit; full {
			l.Browsers[slices.IndexFunc(l.Browsers, func(b Browser) bool { return !b.Marked })].Marked = true
		}
		return true, nil
	})
	if err == nil && full {
		_ = b.finish(ctx, e.User) // if it fails, whoever writes next does it
	}
	return epoch, err
}

// Renew lists key in the place of old. It reports false if old is not listed,
// or is being ended.
func (b *Book) Renew(ctx context.Context, user, old, key string) (ok bool, err error) {
	err = b.change(ctx, user, func(l *list) (bool, error) {
		if i := l.index(key); i >= 0 { // by a write whose answer was lost
			ok = !l.Browsers[i].Marked
			return false, nil
		}
		i := l.index(old)
		if ok = i >= 0 && !l.Browsers[i].Marked; ok {
			l.Browsers[i].Key = key
		}
		return ok, nil
	})
	return ok && err == nil, err
}

// Leave removes a session that has been ended.
func (b *Book) Leave(ctx context.Context, user, key string) error {
	return b.change(ctx, user, func(l *list) (bool, error) {
		i := l.index(key)
		if i >= 0 {
			l.Browsers = slices.Delete(l.Browsers, i, i+1)
		}
		return i >= 0, nil
	})
}

// Ended reports whether all sessions of user have been ended since epoch.
func (b *Book) Ended(ctx context.Context, user string, epoch int64) (bool, error) {
	l, _, err := b.read(ctx, b.key(user))
	return epoch < l.Epoch, err
}

// List returns the sessions of user that may be alive, the newest first.
func (b *Book) List(ctx context.Context, user string) ([]Browser, error) {
	l, _, err := b.read(ctx, b.key(user))
	now := time.Now().Unix()
	l.Browsers = slices.DeleteFunc(l.Browsers, func(b Browser) bool { return b.Marked || b.Until <= now })
	slices.Reverse(l.Browsers)
	return l.Browsers, err
}

// EndAll ends all sessions of user, and returns how many it marked.
func (b *Book) EndAll(ctx context.Context, user string) (marked int, err error) {
	err = b.change(ctx, user, func(l *list) (bool, error) {
		l.Epoch = max(l.Epoch+1, time.Now().UnixMilli())
		for i := range l.Browsers {
			l.Browsers[i].Marked = true
		}
		marked = len(l.Browsers)
		return true, nil
	})
	if err != nil {
		return 0, err
	}
	return marked, b.finish(ctx, user)
}

// End ends the session with this ID, or returns ErrNotFound.
func (b *Book) End(ctx context.Context, user, id string) error {
	marked := false
	err := b.change(ctx, user, func(l *list) (bool, error) {
		i := slices.IndexFunc(l.Browsers, func(b Browser) bool { return b.ID == id })
		switch {
		case i >= 0:
			l.Browsers[i].Marked, marked = true, true
			return true, nil
		case marked: // by a write whose answer was lost
			return false, nil
		}
		return false, ErrNotFound
	})
	if err != nil {
		return err
	}
	return b.finish(ctx, user)
}

// finish ends what is marked, though the caller may leave.
func (b *Book) finish(ctx context.Context, user string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTime)
	defer cancel()
	return b.change(ctx, user, func(*list) (bool, error) { return false, nil })
}

// key is where a user's list is kept. It tells a reader of the store nothing.
func (b *Book) key(user string) string {
	h := sha256.New()
	for _, part := range []string{b.opts.BaseURL, b.opts.ClientID, user} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return "browsers_" + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}
