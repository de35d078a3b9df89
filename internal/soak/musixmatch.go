//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// musixmatch is the fake, with a gateway for each process of the application, so
// that its books know who calls, and with faults at its token endpoint.
type musixmatch struct {
	*mxmtest.Server
	ledger *ledger
	last   atomic.Int64 // request

	mu    sync.Mutex
	armed []tokenFault
}

// tokenFault is what happens to a request for tokens, before Musixmatch carries
// it out and after that.
type tokenFault struct {
	kind          kind
	what          string
	before, after mxmtest.Fault
	loses         bool // the answer
}

// These headers are ours: no client sends them.
const (
	byHeader = "Soak-By" // the process that calls
	idHeader = "Soak-Id" // of the request
)

func newMusixmatch(l *ledger) *musixmatch {
	m := &musixmatch{Server: mxmtest.NewServer(), ledger: l}
	m.Configure(func(s *mxmtest.Settings) { s.KeepRequests = 100 }) // the ledger keeps what counts
	m.Config(publicOrigin)
	m.Fail(mxmtest.Token, m.token, mxmtest.Always())
	m.Fail(mxmtest.API, func(x *mxmtest.Exchange) {
		x.Commit()
		l.called(x.Request)
	}, mxmtest.Always())
	return m
}

// arm lets a fault happen to the next refresh.
func (m *musixmatch) arm(f tokenFault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.armed = append(m.armed, f)
}

func (m *musixmatch) disarm() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.armed = nil
}

func (m *musixmatch) take(r mxmtest.Request) (f tokenFault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.GrantType == "refresh_token" && len(m.armed) > 0 {
		f, m.armed = m.armed[0], m.armed[1:]
	}
	return f
}

// token is every request at the token endpoint.
func (m *musixmatch) token(x *mxmtest.Exchange) {
	f := m.take(x.Request)
	m.ledger.arrived(x.Request, f)
	if f.before != nil {
		f.before(x)
	}
	x.Commit()
	if x.Request.Outcome != "" {
		var t tokens
		_ = json.Unmarshal(x.Response.Body, &t)
		m.ledger.carriedOut(x.Request, t)
	}
	if f.after != nil {
		f.after(x)
	}
}

// tokens is an answer of the token endpoint.
type tokens struct {
	Access    string `json:"access_token"`
	Refresh   string `json:"refresh_token"`
	ExpiresIn int    `json:"expires_in"`
}

// gateway is where one process reaches Musixmatch.
type gateway struct {
	addr   string
	server *http.Server
}

func (m *musixmatch) open(by *incarnation) (*gateway, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &gateway{l.Addr().String(), &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := strconv.FormatInt(m.last.Add(1), 10)
		r.Header.Set(byHeader, by.name)
		r.Header.Set(idHeader, id)
		whole := false
		defer func() { m.ledger.answered(id, whole, r.Context().Err() != nil) }()
		m.ServeHTTP(w, r)
		whole = true
	})}}
	go func() {
		if err := g.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			panic(err)
		}
	}()
	return g, nil
}

func (g *gateway) close() { g.server.Close() }
