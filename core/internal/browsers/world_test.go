package browsers_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/internal/browsers"
	"github.com/mxmconnect/mxmconnect/core/internal/grant"
	"github.com/mxmconnect/mxmconnect/core/internal/seal"
	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

// store is one value in two roles.
type store interface {
	scs.CtxStore
	core.GrantStore
}

// world is one history: two instances with one store, and actors who ask them.
// Every call of the store waits until the scheduler lets it through. So a seed
// decides the order of all calls, and what becomes of each.
type world struct {
	dice      *rand.Rand
	store     store
	place     string // the client: it keeps the records of histories apart
	setup     setup
	rules     rules
	clock     int
	faults    bool
	instances [2]*instance
	actors    []*actor
	late      []func() error // writes whose caller was told that they had failed
	soon      []func()       // actors that a mutation begins
	book
}

// rules are what a mutation breaks.
type rules struct {
	list       func(session.List) session.List
	end        func(a *actor, key string, until time.Time) error
	everywhere func(a *actor, user string) error
	one        func(a *actor, user, id string) error
	logout     func(a *actor, r *http.Request) error
}

// setup is how the application keeps its sessions.
type setup struct {
	applications bool // it made the manager itself
	outer, inner bool // where its own LoadAndSave stands, if anywhere
}

// instance is one process.
type instance struct {
	*session.Manager
	scs  *scs.SessionManager
	book *browsers.Book
	dead bool
}

var keys = func() seal.Keyring {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(7 * i)
	}
	ring, err := seal.New([][]byte{key})
	if err != nil {
		panic(err)
	}
	return ring
}()

// key returns where the store keeps the session of a cookie.
func (i *instance) key(token string) string {
	if !i.scs.HashTokenInStore {
		return token
	}
	hash := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(hash[:])
}

func (w *world) start(s store) *instance {
	sessions := core.NewSessions(s)
	if w.setup.applications {
		sessions.Codec, sessions.HashTokenInStore = scs.GobCodec{}, false
	}
	sessions.ErrorFunc = func(rw http.ResponseWriter, _ *http.Request, _ error) { rw.WriteHeader(http.StatusServiceUnavailable) }
	i := &instance{scs: sessions}
	i.book = browsers.New(browsers.Options{
		Store: grants{s}, Keys: keys, Lifetime: sessions.Lifetime, BaseURL: "https://connect.example", ClientID: w.place,
		Sessions: ender(func(ctx context.Context, key string, until time.Time) error {
			if a, ok := ctx.Value(actorKey{}).(*actor); ok {
				return a.rules.end(a, key, until)
			}
			return i.End(ctx, key, until) // the judge
		}),
	})
	i.Manager = session.New(session.Options{
		Sessions: sessions, Secure: true, Key: "sign-in", Logger: slog.New(slog.DiscardHandler), List: w.rules.list(i.book),
		Refuse: func(rw http.ResponseWriter, _ *http.Request, _ error) { rw.WriteHeader(http.StatusServiceUnavailable) },
	})
	return i
}

type ender func(ctx context.Context, key string, until time.Time) error

func (f ender) End(ctx context.Context, key string, until time.Time) error { return f(ctx, key, until) }

// actor is one request, or one job. It dies with its instance.
type actor struct {
	world     *world
	instance  *instance
	resume    chan verdict
	parked    chan bool // true: it is done
	done      bool
	rules     rules
	postponed []func() error
}

type verdict int

const (
	good verdict = iota
	down         // the call fails and does nothing
	lost         // the call does its work, and fails
	late         // the call fails, and does its work later
	dies         // the process ends before the call
	did          // the process ends after the call
)

var errFault = errors.New("no answer from the store")

type actorKey struct{}

// begin lets an actor run until its first call.
func (w *world) begin(i *instance, run func(a *actor)) {
	a := &actor{world: w, instance: i, rules: w.rules, resume: make(chan verdict), parked: make(chan bool)}
	w.actors = append(w.actors, a)
	go func() {
		defer func() { a.parked <- true }()
		run(a)
	}()
	a.done = <-a.parked
}

func (a *actor) endPostponed() error {
	for _, end := range a.postponed {
		if err := end(); err != nil {
			return err
		}
	}
	a.postponed = nil
	return nil
}

func (a *actor) context() context.Context {
	return context.WithValue(context.Background(), actorKey{}, a)
}

// pause waits for the scheduler.
func (a *actor) pause() verdict {
	if !a.instance.dead {
		a.parked <- false
		v := <-a.resume
		if !a.instance.dead {
			return v
		}
	}
	runtime.Goexit()
	return good
}

// step lets an actor go on until its next call.
func (w *world) step(a *actor, v verdict) {
	w.clock++
	a.resume <- v
	a.done = <-a.parked
}

// gate is an actor's way to the store.
type gate struct{ world *world }

func (g gate) call(ctx context.Context, writes bool, do func() error) error {
	a, ok := ctx.Value(actorKey{}).(*actor)
	if !ok { // the judge
		return do()
	}
	switch v := a.pause(); {
	case v == down, v == late && !writes:
		return errFault
	case v == lost:
		_ = do()
		return errFault
	case v == late:
		g.world.late = append(g.world.late, do)
		return errFault
	case v == dies, v == did:
		if v == did {
			_ = do()
		}
		a.instance.dead = true
		runtime.Goexit()
	}
	return do()
}

func (g gate) FindCtx(ctx context.Context, key string) (b []byte, found bool, err error) {
	err = g.call(ctx, false, func() error { b, found, err = g.world.store.FindCtx(ctx, key); return err })
	if err != nil {
		return nil, false, err
	}
	return b, found, nil
}

func (g gate) CommitCtx(ctx context.Context, key string, b []byte, expiry time.Time) error {
	return g.call(ctx, true, func() error { return g.world.store.CommitCtx(context.WithoutCancel(ctx), key, b, expiry) })
}

func (g gate) DeleteCtx(ctx context.Context, key string) error {
	return g.call(ctx, true, func() error { return g.world.store.DeleteCtx(context.WithoutCancel(ctx), key) })
}

func (g gate) FindGrant(ctx context.Context, key string) (r core.Record, found bool, err error) {
	err = g.call(ctx, false, func() error { r, found, err = g.world.store.FindGrant(ctx, key); return err })
	if err != nil {
		return core.Record{}, false, err
	}
	return r, found, nil
}

func (g gate) CommitGrant(ctx context.Context, key, old string, r core.Record) error {
	return g.call(ctx, true, func() error { return g.world.store.CommitGrant(context.WithoutCancel(ctx), key, old, r) })
}

func (g gate) DeleteGrant(context.Context, string) error { panic("lists are not deleted") }

func (g gate) Find(string) ([]byte, bool, error)      { panic("without a context") }
func (g gate) Commit(string, []byte, time.Time) error { panic("without a context") }
func (g gate) Delete(string) error                    { panic("without a context") }

// grants makes a core.GrantStore a browsers.Store.
type grants struct{ core.GrantStore }

func (s grants) FindGrant(ctx context.Context, key string) (grant.Record, bool, error) {
	r, found, err := s.GrantStore.FindGrant(ctx, key)
	return grant.Record(r), found, err
}

func (s grants) CommitGrant(ctx context.Context, key, old string, r grant.Record) error {
	return s.GrantStore.CommitGrant(ctx, key, old, core.Record(r))
}

// ask sends a request with a session cookie and returns the answer's status,
// and its cookie: the one that was sent, if the answer has none.
func (i *instance) ask(ctx context.Context, s setup, cookie string, handler http.HandlerFunc) (status int, next string) {
	h := http.Handler(handler)
	if s.inner {
		h = i.scs.LoadAndSave(h)
	}
	h = i.Wrap(h)
	if s.outer {
		h = i.scs.LoadAndSave(h)
	}
	return i.send(ctx, cookie, h)
}

func (i *instance) send(ctx context.Context, cookie string, h http.Handler) (status int, next string) {
	r := (&http.Request{Method: http.MethodGet, Header: http.Header{}}).WithContext(ctx)
	if cookie != "" {
		r.AddCookie(&http.Cookie{Name: i.scs.Cookie.Name, Value: cookie})
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	next = cookie
	for _, c := range rec.Result().Cookies() {
		if next = c.Value; c.MaxAge < 0 {
			next = ""
		}
	}
	return rec.Code, next
}
