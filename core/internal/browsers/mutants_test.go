package browsers_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

// Each mutation breaks one rule of the order. A history shows why it is there.
var mutations = map[string]func(*rules){
	"a session is committed before it is listed": func(r *rules) {
		r.list = func(l session.List) session.List { return entersLater{l} }
	},
	"a session that was never committed gets no tombstone": func(r *rules) {
		r.end = func(a *actor, key string, _ time.Time) error { return gate{a.world}.DeleteCtx(a.context(), key) }
	},
	"a session is emptied, and not deleted": func(r *rules) {
		r.end = func(a *actor, key string, until time.Time) error {
			empty, err := a.instance.scs.Codec.Encode(until, map[string]any{})
			if err != nil {
				return err
			}
			return gate{a.world}.CommitCtx(a.context(), key, empty, until)
		}
	},
	"a renewal does not ask": func(r *rules) {
		r.list = func(l session.List) session.List { return alwaysRenews{l} }
	},
	"a renewal takes two writes": func(r *rules) {
		r.list = func(l session.List) session.List { return renewsInTwo{l} }
	},
	"sessions leave the list before they end": func(r *rules) {
		r.end = func(a *actor, key string, until time.Time) error {
			a.postponed = append(a.postponed, func() error { return a.instance.End(a.context(), key, until) })
			return nil
		}
		r.everywhere = func(a *actor, user string) error {
			return errors.Join(plain.everywhere(a, user), a.endPostponed())
		}
		r.one = func(a *actor, user, id string) error {
			return errors.Join(plain.one(a, user, id), a.endPostponed())
		}
	},
	"sessions end before they are marked": func(r *rules) {
		r.everywhere = func(a *actor, user string) error {
			listed, err := a.instance.book.List(a.context(), user)
			if err != nil {
				return err
			}
			for _, b := range listed {
				if err := a.instance.End(a.context(), b.Key, time.Unix(b.Until, 0)); err != nil {
					return err
				}
			}
			r := plain
			r.end = func(*actor, string, time.Time) error { return nil }
			defer func(before rules) { a.rules = before }(a.rules)
			a.rules = r
			return plain.everywhere(a, user)
		}
	},
	"a session that could not be ended counts as ended": func(r *rules) {
		r.end = func(a *actor, key string, until time.Time) error {
			_ = a.instance.End(a.context(), key, until)
			return nil
		}
	},
	"a logout leaves the list before it ends the session": func(r *rules) {
		r.logout = func(a *actor, req *http.Request) error {
			s := a.instance.From(req.Context())
			if user := session.UserID(req.Context()); user != "" {
				_ = a.instance.book.Leave(a.context(), user, s.ListedAs())
			}
			return s.SignOut(req.Context())
		}
	},
	"everybody is ended": func(r *rules) { // the judge sees too much, too
		r.everywhere = func(a *actor, user string) error {
			for _, u := range users {
				if _, err := a.instance.book.EndAll(a.context(), u); err != nil {
					return err
				}
			}
			return nil
		}
	},
}

func TestMutatedHistories(t *testing.T) {
	for name, mutate := range mutations {
		t.Run(name, func(t *testing.T) {
			r := plain
			mutate(&r)
			for seed := range uint64(20_000) {
				if wrong := play(core.NewMemory(), seed, r); len(wrong) > 0 {
					t.Logf("seed %d: %s", seed, wrong[0])
					return
				}
			}
			require.Fail(t, "no history shows what is wrong with it")
		})
	}
}

// entersLater lists a session while it is being committed.
type entersLater struct{ session.List }

func (l entersLater) Enter(ctx context.Context, e session.Entry) (int64, error) {
	a := ctx.Value(actorKey{}).(*actor)
	a.world.soon = append(a.world.soon, func() {
		a.world.begin(a.instance, func(a *actor) { _, _ = l.List.Enter(a.context(), e) })
	})
	return 0, nil
}

type alwaysRenews struct{ session.List }

func (l alwaysRenews) Renew(ctx context.Context, user, old, key string) (bool, error) {
	ok, err := l.List.Renew(ctx, user, old, key)
	if err == nil && !ok {
		_, err = l.Enter(ctx, session.Entry{User: user, Key: key, Until: time.Now().Add(time.Hour)})
	}
	return err == nil, err
}

type renewsInTwo struct{ session.List }

func (l renewsInTwo) Renew(ctx context.Context, user, old, key string) (bool, error) {
	if err := l.Leave(ctx, user, old); err != nil {
		return false, err
	}
	_, err := l.Enter(ctx, session.Entry{User: user, Key: key, Until: time.Now().Add(time.Hour)})
	return err == nil, err
}
