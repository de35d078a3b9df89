// Package grant keeps the tokens of users alive. A grant is the access token and
// the refresh token of one user. The refresh token works once: whoever receives
// the answer to a refresh holds the only live tokens in the world. This package
// sees to it that no refresh token is wasted: by any number of callers, on any
// number of instances, whatever fails.
//
// It knows a store and a server by the interfaces below, and nothing of sessions
// or of the requests of an application. find.go begins the protocol and lists its steps.
package grant

import (
	"context"
	"errors"
	"hash/maphash"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
	"github.com/mxmconnect/mxmconnect/core/internal/seal"
)

// Server is what the protocol needs of an authorization server.
type Server interface {
	// Connect opens a connection, TLS included, on which one refresh token can be
	// presented. Nothing is sent.
	Connect(ctx context.Context, refreshToken string) (Conn, error)
	// Introspect asks about an access token that came from this server.
	Introspect(ctx context.Context, accessToken string) (musixmatch.Introspection, error)
	// Revoke tells the server that a token is not needed any more, if it can be told.
	Revoke(ctx context.Context, refreshToken string)
	// Now returns the server's time, and whether the server has said it.
	Now() (t time.Time, known bool)
}

// Conn presents one refresh token.
type Conn interface {
	// Send presents it, at most once. may is asked immediately before the first
	// byte; if it says no, nothing is sent. One answer follows.
	Send(may func() bool) <-chan musixmatch.Answer
	// Reset ends the connection so that what is queued is not delivered.
	Reset()
	// Close ends the connection. It may be called at any time, and repeatedly.
	Close()
}

// Record is one sealed value of a [Store]; see core.Record.
type Record struct {
	Data    []byte
	Version string
	Expiry  time.Time
}

// Store keeps records; see core.GrantStore. CommitGrant returns [ErrConflict],
// wrapped or not, when the stored version is not old.
type Store interface {
	FindGrant(ctx context.Context, key string) (r Record, found bool, err error)
	CommitGrant(ctx context.Context, key, old string, r Record) error
}

// ErrConflict is the error of a store whose stored version is another.
var ErrConflict = errors.New("core: the record was changed by somebody else")

// Options are what a [Manager] needs to know.
type Options struct {
	Store             Store
	Lister            Lister // Store as well, or nil if it cannot list
	Server            Server
	Keys              seal.Keyring
	BaseURL, ClientID string        // part of every key
	RefreshTimeout    time.Duration // how long one refresh may take at the server
	Clock             musixmatch.Clock
	Report            func(context.Context, Report) // may be called from several goroutines, and may call back
	// OnStatus is told that a grant was lost, or is back; nil acknowledges. It may be
	// nil, and is called from several goroutines.
	OnStatus func(context.Context, Info) error
}

// Manager keeps the user tokens of one client at one server alive. It is safe
// for concurrent use.
type Manager struct {
	timing
	records     *records
	server      Server
	clock       musixmatch.Clock
	report      func(context.Context, Report)
	owner       string
	entries     entries
	refreshSem  semaphore // refreshes that move
	postSem     semaphore // refreshes under way, those that hang included
	probeSem    semaphore // introspections under way
	timeSem     semaphore // of the one who asks for the server's time
	calibration calibration

	pausedUntil atomic.Int64 // on the process's clock
	timeAsked   atomic.Int64 // when the server was last asked for its time, in vain; 0: never
	dated       dated

	onStatus   func(context.Context, Info) error
	deliveries deliveries

	reports reports
	work    work
	live    context.Context // ended by Close
	stop    context.CancelFunc
}

// semaphore bounds how many calls are under way at the server.
type semaphore chan struct{}

const (
	maxRefreshes = 64
	maxPosts     = 256
	maxProbes    = 64
)

func (s semaphore) release() { <-s }

// New returns a Manager. It uses neither the store nor the server.
func New(o Options) *Manager {
	owner, _ := os.Hostname()
	live, stop := context.WithCancel(context.Background())
	return &Manager{
		timing:     timingFrom(o.RefreshTimeout),
		records:    &records{store: o.Store, lister: o.Lister, keys: o.Keys, baseURL: o.BaseURL, clientID: o.ClientID},
		server:     o.Server,
		clock:      o.Clock,
		report:     o.Report,
		owner:      owner,
		entries:    entries{seed: maphash.MakeSeed(), clock: o.Clock},
		refreshSem: make(semaphore, maxRefreshes),
		probeSem:   make(semaphore, maxProbes),
		postSem:    make(semaphore, maxPosts),
		timeSem:    make(semaphore, 1),
		onStatus:   o.OnStatus,
		deliveries: newDeliveries(),
		live:       live,
		stop:       stop,
	}
}

// Cached returns a token that was read within a lease and has enough life left,
// or nil. It takes no lock and allocates nothing.
func (m *Manager) Cached(sub string) *oauth2.Token {
	if e := m.entries.find(sub); e != nil {
		if s := e.cached.Load(); s != nil && m.isFresh(s) {
			return s.token
		}
	}
	return nil
}

// Token returns the token of sub's grant, and refreshes it if it is due. It
// waits as long as ctx, or 10 seconds if ctx has no deadline.
func (m *Manager) Token(ctx context.Context, sub string) (*oauth2.Token, error) {
	return m.token(ctx, sub, "").token()
}

// Replace returns the token to use in place of rejected, which the API has
// refused. It returns nil and no error if rejected is active, so that the refusal
// was about something else, or if nobody can say whether it is.
func (m *Manager) Replace(ctx context.Context, sub, rejected string) (*oauth2.Token, error) {
	res := m.token(ctx, sub, rejected)
	if res.verdict != noVerdict {
		return nil, nil
	}
	return res.token()
}

// Place returns a short text that names this client at this server, for keys of
// other things that must not be mixed up.
func (m *Manager) Place() string { return m.records.key("")[len(keyPrefix):][:16] }

// Backoff is the wait after the n-th failure in a row.
func (m *Manager) Backoff(n int) time.Duration { return m.backoff(n) }

// work counts what Close waits for.
type work struct {
	mu     sync.Mutex
	closed bool
	sync.WaitGroup
}

// begin announces work that Close is to wait for, until work.Done. It reports
// false once Close has been called.
func (m *Manager) begin() bool {
	m.work.mu.Lock()
	defer m.work.mu.Unlock()
	if m.work.closed {
		return false
	}
	m.work.Add(1)
	return true
}

// Close lets no further refresh begin, ends what only waits, and returns when
// what holds tokens that are not stored yet has stored them, or ctx is done.
func (m *Manager) Close(ctx context.Context) error {
	m.work.mu.Lock()
	if !m.work.closed {
		m.work.closed = true
		m.stop()
	}
	m.work.mu.Unlock()
	done := make(chan struct{})
	go func() {
		m.work.Wait()
		close(done)
	}()
	select {
	case <-done:
		m.reports.flush(ctx)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sleep waits. It returns false, at once, when Manager is closing.
func (m *Manager) sleep(d time.Duration) bool {
	t := time.NewTimer(max(0, d))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-m.live.Done():
		return false
	}
}
