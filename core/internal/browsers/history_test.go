package browsers_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/session"
)

// book is what the judge knows.
type book struct {
	browsers [3]browser
	signIns  []*signIn
	calls    []*call
	tokens   map[string]bool
	wrong    []string
}

type browser struct{ cookie string }

// signIn is one sign-in, with all renewals of its session.
type signIn struct {
	user       string
	begun      int
	completed  int  // 0: nobody got an answer that it succeeded
	mayHaveEnd bool // somebody renewed it, signed it out or replaced it
}

// call is one call that ends sessions.
type call struct {
	user         string
	begun, ended int  // ended is math.MaxInt while it runs
	only         int  // the sign-in whose session it ends; 0: all of the user's
	returned     bool // without an error
}

var users = []string{"mxm:1", "mxm:1", "mxm:1", "mxm:2"}

const number = "number" // of the sign-in, in the session

// plain are the rules as they are.
var plain = rules{
	list:       func(l session.List) session.List { return l },
	end:        func(a *actor, key string, until time.Time) error { return a.instance.End(a.context(), key, until) },
	everywhere: func(a *actor, user string) error { _, err := a.instance.book.EndAll(a.context(), user); return err },
	one:        func(a *actor, user, id string) error { return a.instance.book.End(a.context(), user, id) },
	logout:     func(a *actor, r *http.Request) error { return a.instance.From(r.Context()).SignOut(r.Context()) },
}

// play plays one history and returns what went wrong.
func play(s store, seed uint64, r rules) []string {
	dice := rand.New(rand.NewPCG(seed, 0))
	w := &world{
		dice: dice, store: s, rules: r, place: fmt.Sprintf("%d %d", seed, time.Now().UnixNano()),
		setup: []setup{{}, {}, {applications: true}, {applications: true, outer: true}, {outer: true}, {inner: true}}[dice.IntN(6)],
		book:  book{tokens: map[string]bool{}}, faults: dice.IntN(4) > 0,
	}
	for i := range w.instances {
		w.instances[i] = w.start(gate{w})
	}
	for left := 6 + dice.IntN(10); left > 0 || len(w.actors) > 0; {
		w.restart()
		for _, begin := range w.soon {
			begin()
		}
		w.soon = nil
		switch {
		case len(w.late) > 0 && dice.IntN(8) == 0:
			i := dice.IntN(len(w.late))
			_ = w.late[i]()
			w.late = slices.Delete(w.late, i, i+1)
		case left > 0 && (len(w.actors) == 0 || len(w.actors) < 4 && dice.IntN(6) == 0):
			left--
			w.act()
		case len(w.actors) > 0:
			a := w.actors[dice.IntN(len(w.actors))]
			w.step(a, w.fate())
		}
	}
	for _, do := range w.late {
		_ = do()
	}
	w.clock++
	w.judge()
	return w.wrong
}

// restart starts an instance in the place of one that has died, and forgets
// actors who are done.
func (w *world) restart() {
	for n, i := range w.instances {
		if i.dead {
			w.instances[n] = w.start(gate{w})
		}
	}
	for _, a := range w.actors {
		if !a.done && a.instance.dead {
			w.step(a, good) // no further than to its end
		}
	}
	w.actors = slices.DeleteFunc(w.actors, func(a *actor) bool { return a.done })
}

func (w *world) fate() verdict {
	if !w.faults || w.dice.IntN(12) > 0 {
		return good
	}
	return verdict(1 + w.dice.IntN(int(did)))
}

// act begins something at random.
func (w *world) act() {
	user, b, i := users[w.dice.IntN(len(users))], &w.browsers[w.dice.IntN(len(w.browsers))], w.instances[w.dice.IntN(2)]
	w.clock++
	switch w.dice.IntN(10) {
	case 0, 1, 2:
		w.begin(i, func(a *actor) { w.signIn(a, b, user) })
	case 3:
		w.begin(i, func(a *actor) { w.visit(a, b, true, w.renew(a)) })
	case 4:
		w.begin(i, func(a *actor) { w.renewUnseen(a, b) })
	case 5:
		w.begin(i, func(a *actor) {
			w.visit(a, b, true, func(rw http.ResponseWriter, r *http.Request) {
				if a.rules.logout(a, r) != nil {
					rw.WriteHeader(http.StatusServiceUnavailable)
				}
			})
		})
	case 6:
		w.begin(i, func(a *actor) { // a slow request that changes the session
			w.visit(a, b, false, func(_ http.ResponseWriter, r *http.Request) {
				i.scs.Put(r.Context(), "seen", w.clock)
				a.pause()
			})
		})
	case 7:
		w.begin(i, func(a *actor) { w.endOne(a, user) })
	default:
		w.begin(i, func(a *actor) { w.everywhere(a, user) })
	}
}

func (w *world) signIn(a *actor, b *browser, user string) {
	in := &signIn{user: user, begun: w.clock}
	w.signIns = append(w.signIns, in)
	n := len(w.signIns)
	status := w.visit(a, b, true, func(rw http.ResponseWriter, r *http.Request) {
		s := a.instance.From(r.Context())
		err := s.SignIn(r.Context(), user)
		if err == nil {
			a.instance.scs.Put(r.Context(), number, n)
			err = s.Save(rw)
		}
		if err != nil {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	if status == http.StatusOK {
		in.completed = w.clock
	}
}

func (w *world) renew(a *actor) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		if a.instance.scs.RenewToken(r.Context()) != nil {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
	}
}

// renewUnseen renews the session where Wrap does not stand.
func (w *world) renewUnseen(a *actor, b *browser) {
	if b.cookie == "" {
		return
	}
	cookie := b.cookie
	_, next := a.instance.send(a.context(), cookie, a.instance.scs.LoadAndSave(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mayEnd(a.instance.scs.GetInt(r.Context(), number))
		w.renew(a)(rw, r)
	})))
	w.answer(b, next, cookie)
}

// visit is a request of b. The handler finds out who is signed in first.
func (w *world) visit(a *actor, b *browser, ends bool, handler http.HandlerFunc) (status int) {
	begun, cookie := w.clock, b.cookie
	status, next := a.instance.ask(a.context(), w.setup, cookie, func(rw http.ResponseWriter, r *http.Request) {
		if user := session.UserID(r.Context()); user != "" {
			n := a.instance.scs.GetInt(r.Context(), number)
			w.seen(begun, user, n)
			if ends {
				w.mayEnd(n)
			}
		}
		handler(rw, r)
	})
	w.answer(b, next, cookie)
	return status
}

// answer brings an answer to its browser.
func (w *world) answer(b *browser, next, sent string) {
	if next != "" {
		w.tokens[next] = true
	}
	if next != sent && (!w.faults || w.dice.IntN(20) > 0) { // else it is lost
		b.cookie = next
	}
}

func (w *world) mayEnd(n int) {
	if n > 0 {
		w.signIns[n-1].mayHaveEnd = true
	}
}

func (w *world) everywhere(a *actor, user string) {
	for range 3 {
		c := &call{user: user, begun: w.clock, ended: math.MaxInt}
		w.calls = append(w.calls, c)
		err := w.whileAlive(c, func() error { return a.rules.everywhere(a, user) })
		if err == nil {
			w.probe()
			return
		}
	}
}

// endOne ends one session of the list.
func (w *world) endOne(a *actor, user string) {
	listed, err := a.instance.book.List(a.context(), user)
	if err != nil || len(listed) == 0 {
		return
	}
	chosen := listed[w.dice.IntN(len(listed))]
	c := &call{user: user, begun: w.clock, ended: math.MaxInt, only: w.numberAt(chosen.Key)}
	w.calls = append(w.calls, c)
	_ = w.whileAlive(c, func() error { return a.rules.one(a, user, chosen.ID) })
}

// whileAlive notes when a call ended, also by the end of its process.
func (w *world) whileAlive(c *call, do func() error) (err error) {
	defer func() { c.ended = w.clock }()
	err = do()
	c.returned = err == nil
	return err
}

// seen judges that a request which began then found user signed in.
func (w *world) seen(begun int, user string, n int) {
	if n == 0 || w.signIns[n-1].user != user {
		w.wrong = append(w.wrong, fmt.Sprintf("%s is signed in with the session of sign-in %d", user, n))
		return
	}
	in := w.signIns[n-1]
	for _, c := range w.calls {
		covered := c.only == n || c.only == 0 && in.completed > 0 && in.completed < c.begun
		if covered && c.returned && c.user == user && c.ended <= begun {
			w.wrong = append(w.wrong, fmt.Sprintf("sign-in %d of %d to %d answers at %d, after a call of %d to %d",
				n, in.begun, in.completed, begun, c.begun, c.ended))
		}
	}
}

// probe reads, without a change, all sessions that any browser ever had.
func (w *world) probe() {
	i := w.start(w.store)
	for token := range w.tokens {
		ctx, err := i.scs.Load(context.Background(), token)
		if err != nil {
			w.wrong = append(w.wrong, err.Error())
			continue
		}
		n := i.scs.GetInt(ctx, number)
		if n == 0 {
			continue
		}
		holds, err := i.Holds(context.Background(), i.key(token), w.signIns[n-1].user)
		if err != nil {
			w.wrong = append(w.wrong, err.Error())
		}
		if holds {
			w.seen(w.clock, w.signIns[n-1].user, n)
		}
	}
}

// numberAt returns whose session is kept at key, or a number that nobody has.
func (w *world) numberAt(key string) int {
	i := w.start(w.store)
	for token := range w.tokens {
		if i.key(token) == key {
			if ctx, err := i.scs.Load(context.Background(), token); err == nil && i.scs.Exists(ctx, number) {
				return i.scs.GetInt(ctx, number)
			}
		}
	}
	return -1
}

// judge asks, at the end, with every cookie that a browser ever had.
func (w *world) judge() {
	i := w.start(w.store)
	alive := map[int]bool{}
	for token := range w.tokens {
		i.ask(context.Background(), w.setup, token, func(_ http.ResponseWriter, r *http.Request) {
			if user := session.UserID(r.Context()); user != "" {
				n := i.scs.GetInt(r.Context(), number)
				w.seen(w.clock, user, n)
				alive[n] = true
			}
		})
	}
	for n, in := range w.signIns {
		stays := in.completed > 0 && !in.mayHaveEnd && !slices.ContainsFunc(w.calls, func(c *call) bool {
			return c.user == in.user && c.ended >= in.begun
		})
		if stays && !alive[n+1] {
			w.wrong = append(w.wrong, fmt.Sprintf("sign-in %d of %d to %d was ended", n+1, in.begun, in.completed))
		}
	}
}
