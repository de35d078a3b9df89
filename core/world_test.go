package core_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/internal/pipes"
)

const alice = "mxm:100000000000000000001"

// The waits of the protocol with the default RefreshTimeout.
const (
	timeout = 30 * time.Second
	lease   = 45 * time.Second
	settle  = 15 * time.Second
)

// world is a fake Musixmatch, a store and any number of instances of one
// application, in a synctest bubble: HTTP runs over net.Pipe, waits take no time.
type world struct {
	t       *testing.T
	mgr     *scs.SessionManager
	srv     *mxmtest.Server
	store   *core.Memory
	log     lines
	started []*instance
	net     *network
}

// inBubble runs test in a world of its own.
func inBubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	sessions := core.NewSessions(core.NewMemory()) // outside: scs starts a goroutine that it never ends
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, mgr: sessions, srv: mxmtest.NewUnstarted("http://127.0.0.1"), store: core.NewMemory(), net: newNetwork()}
		server := &http.Server{Handler: w.srv, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
		go server.Serve(w.net)
		defer func() {
			w.srv.Close()
			server.Close()
			synctest.Wait()
		}()
		test(t, w)
		w.tellsNoSecret()
	})
}

// tellsNoSecret checks that no log line, event or error holds a token that went
// over the wire, or the client's secret.
func (w *world) tellsNoSecret() {
	w.t.Helper()
	synctest.Wait()
	said := w.log.text()
	for _, i := range w.started {
		i.mu.Lock()
		said += fmt.Sprintf("%+v %#v", i.events, i.Auth)
		i.mu.Unlock()
	}
	secrets := []string{mxmtest.DefaultClientSecret}
	for _, r := range w.srv.Requests() {
		secrets = append(secrets, r.Token)
	}
	for _, secret := range secrets {
		if secret != "" {
			require.NotContains(w.t, said, secret)
			require.NotContains(w.t, said, url.QueryEscape(secret))
		}
	}
}

// instance is one process of the application.
type instance struct {
	*core.Auth
	store  *instanceStore
	mu     sync.Mutex
	events []core.Event
}

var testKeys = func() [][]byte {
	key := make([]byte, 32)
	for i := range key {
		key[i] = byte(i*7 + 1)
	}
	return [][]byte{key}
}()

func (w *world) start(change ...func(*core.Config)) *instance {
	w.t.Helper()
	i := &instance{store: &instanceStore{GrantStore: w.store}}
	c := w.srv.Config("http://127.0.0.1:8080")
	c.Grants, c.Keys, c.Sessions = i.store, testKeys, w.mgr
	c.HTTPClient = &http.Client{Transport: &http.Transport{DialContext: w.net.dial, DisableKeepAlives: true}}
	c.Logger = slog.New(slog.NewTextHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c.OnEvent = func(_ context.Context, e core.Event) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.events = append(i.events, e)
	}
	for _, f := range change {
		f(&c)
	}
	var err error
	i.Auth, err = core.New(c)
	require.NoError(w.t, err)
	w.started = append(w.started, i)
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		require.NoError(w.t, i.Close(ctx))
	})
	return i
}

// kinds returns the events of the kinds given as "kind" or "kind reason".
func (i *instance) kinds(kinds ...core.EventKind) (seen []string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, e := range i.events {
		for _, k := range kinds {
			if e.Kind == k && e.Reason != "" {
				seen = append(seen, fmt.Sprintf("%s %s", k, e.Reason))
			} else if e.Kind == k {
				seen = append(seen, string(k))
			}
		}
	}
	return seen
}

func (i *instance) token(t *testing.T) string {
	t.Helper()
	tok, err := i.TokenSource(t.Context(), alice).Token()
	require.NoError(t, err)
	return tok.AccessToken
}

// tokenErr returns the error of a call with much patience.
func (i *instance) tokenErr(t *testing.T, patience time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := i.TokenSource(ctx, alice).Token()
	return err
}

// leave returns the error of a call whose caller goes away, unforeseen.
func (i *instance) leave(t *testing.T, after time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	time.AfterFunc(after, cancel)
	_, err := i.TokenSource(ctx, alice).Token()
	return err
}

// signIn gives alice a grant by importing one that the server issued, and
// empties the books. The newest token is fresh.
func (w *world) signIn(i *instance) {
	w.t.Helper()
	id, err := i.Import(w.t.Context(), w.srv.Issue(alice).RefreshToken)
	require.NoError(w.t, err)
	require.Equal(w.t, alice, id)
	synctest.Wait() // for what the import leaves for after its answer
	w.srv.ResetRequests()
	i.mu.Lock()
	i.events = nil
	i.mu.Unlock()
}

// refreshes returns the refreshes that arrived at the server since the sign-in.
func (w *world) refreshes() (all []mxmtest.Request) {
	for _, r := range w.srv.Requests() {
		if r.Endpoint == mxmtest.Token && r.GrantType == "refresh_token" {
			all = append(all, r)
		}
	}
	return all
}

// life returns the one living login of alice at the server.
func (w *world) life() mxmtest.Family {
	w.t.Helper()
	live := w.srv.Live(alice)
	require.Len(w.t, live, 1, "living logins at the server")
	return live[0]
}

// untilDue waits until an hour's token is in its refresh window, jitter included.
func untilDue() { time.Sleep(time.Hour - 90*time.Second) }

// network leads to one server. Dialing can be made to fail, or to take long.
type network struct {
	*pipes.Listener
	broken atomic.Bool
	stall  atomic.Int64
}

func newNetwork() *network { return &network{Listener: pipes.Listen()} }

func (n *network) dial(ctx context.Context, to, addr string) (net.Conn, error) {
	if d := time.Duration(n.stall.Load()); d > 0 {
		time.Sleep(d)
	}
	if n.broken.Load() {
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: fmt.Errorf("refused")}
	}
	return n.Dial(ctx, to, addr)
}

// storeCall is one call of the GrantStore by one instance.
type storeCall struct {
	op   string // "find" or "commit"
	key  string
	n    int // counts the instance's calls of that op at that key, from 1, since the last watch
	do   func() error
	late func() error // do, whatever the caller's patience
}

// instanceStore is an instance's way to the shared store. Its hook may do a
// call, fail it, or both.
type instanceStore struct {
	core.GrantStore
	mu     sync.Mutex
	hook   func(c storeCall) error
	counts map[string]int
	dead   bool
}

// watch calls hook for every call to alice's grant from now on.
func (s *instanceStore) watch(hook func(c storeCall) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook, s.counts = hook, map[string]int{}
}

// kill ends the process: whatever of it comes to the store goes no further.
func (s *instanceStore) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = true
}

func (s *instanceStore) call(op, key string, do, late func() error) error {
	s.mu.Lock()
	hook, dead := s.hook, s.dead
	c := storeCall{op: op, key: key, do: do, late: late}
	if key == aliceKey && s.counts != nil {
		s.counts[op]++
		c.n = s.counts[op]
	}
	s.mu.Unlock()
	if dead {
		runtime.Goexit()
	}
	if hook == nil || key != aliceKey {
		return do()
	}
	return hook(c)
}

func (s *instanceStore) FindGrant(ctx context.Context, key string) (r core.Record, found bool, err error) {
	err = s.call("find", key, func() error {
		r, found, err = s.GrantStore.FindGrant(ctx, key)
		return err
	}, nil)
	if err != nil {
		return core.Record{}, false, err
	}
	return r, found, nil
}

func (s *instanceStore) CommitGrant(ctx context.Context, key, old string, r core.Record) error {
	return s.call("commit", key,
		func() error { return s.GrantStore.CommitGrant(ctx, key, old, r) },
		func() error { return s.GrantStore.CommitGrant(context.WithoutCancel(ctx), key, old, r) })
}

// ListGrants implements [core.GrantLister].
func (s *instanceStore) ListGrants(ctx context.Context, cursor string, limit int) (keys []string, next string, err error) {
	err = s.call("list", "", func() error {
		keys, next, err = s.GrantStore.(core.GrantLister).ListGrants(ctx, cursor, limit)
		return err
	}, nil)
	return keys, next, err
}

// aliceKey is where alice's grant is.
var aliceKey = func() string {
	h := sha256.New()
	for _, part := range []string{"http://127.0.0.1", mxmtest.DefaultClientID, alice} {
		h.Write([]byte(part + "\x00"))
	}
	return "grant_" + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}()

// save returns alice's record, for rewind.
func (w *world) save() core.Record {
	w.t.Helper()
	r, found, err := w.store.FindGrant(w.t.Context(), aliceKey)
	require.NoError(w.t, err)
	require.True(w.t, found)
	return r
}

// rewind makes the store lose what was written since save; a zero Record: all.
func (w *world) rewind(r core.Record) {
	w.t.Helper()
	require.NoError(w.t, w.store.DeleteGrant(w.t.Context(), aliceKey))
	if r.Version != "" {
		require.NoError(w.t, w.store.CommitGrant(w.t.Context(), aliceKey, "", r))
	}
}

// lines is a log that can be searched.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
