package mxmtest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// The client that every Server knows from the start. The secret contains
// characters that a form must escape.
const (
	DefaultClientID     = "mxmtest-client"
	DefaultClientSecret = "mxmtest+secret/for=tests&only"
)

// maxBody is the most that is read of a request, in bytes.
const maxBody = 1 << 20

// Server is a fake Musixmatch. Make one with [NewServer] or [NewUnstarted].
type Server struct {
	// URL is the base URL and the issuer, without a slash at the end. You may
	// change it before the first request.
	URL string

	key     []byte        // authenticates tokens
	done    chan struct{} // closed by Close
	running sync.WaitGroup
	serving sync.WaitGroup
	server  *http.Server // nil when somebody else serves

	mu         sync.Mutex
	closed     bool
	settings   Settings
	clients    map[string]*client
	users      []user
	decision   decision
	families   map[int]*family
	lastFamily int
	sweepAt    int
	codes      map[string]*code
	rules      []*rule

	windowStart time.Time // of Settings.MetadataWindow
	windowCalls int
	log         []*Request
}

// NewServer starts a Server on a free port of 127.0.0.1. It panics if it cannot
// listen. The caller must call Close.
func NewServer() *Server {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(fmt.Sprintf("mxmtest: cannot listen on the loopback interface: %v", err))
	}
	s := NewUnstarted("http://" + l.Addr().String())
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	s.serving.Go(func() {
		if err := s.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			panic(fmt.Sprintf("mxmtest: %v", err))
		}
	})
	return s
}

// NewUnstarted returns a Server that does not listen. It is an [http.Handler] that
// the caller serves under baseURL, for example over in-memory connections in a
// testing/synctest bubble; call NewUnstarted inside the bubble. To cut a
// connection it panics with [http.ErrAbortHandler], as net/http expects.
func NewUnstarted(baseURL string) *Server {
	key := make([]byte, 32)
	rand.Read(key)
	return &Server{
		URL:      baseURL,
		key:      key,
		done:     make(chan struct{}),
		settings: DefaultSettings(),
		clients: map[string]*client{
			DefaultClientID: {id: DefaultClientID, secret: DefaultClientSecret},
		},
		users:    defaultUsers(),
		families: map[int]*family{},
		codes:    map[string]*code{},
	}
}

// Close stops the Server and waits for its requests. It cuts requests that a fault
// holds back, without processing them.
func (s *Server) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.done)
	}
	s.mu.Unlock()
	if s.server != nil {
		s.server.Close()
		s.serving.Wait()
	}
	s.running.Wait()
}

// APIURL is the base URL of the protected API: GET APIURL()/whoami.
func (s *Server) APIURL() string { return s.URL }

// route returns the handler of a path. The handler runs with s.mu held, so that
// everything it decides happens at one instant, the server's commit.
type route struct {
	endpoint Endpoint
	handle   func(*Server, *Request) Response
}

func find(path string) (route, bool) {
	switch path {
	case "/oauth/authorize":
		return route{Authorize, (*Server).authorize}, true
	case decisionPath:
		return route{Authorize, (*Server).decide}, true
	case "/oauth/token":
		return route{Token, (*Server).token}, true
	case "/oauth/token-metadata":
		return route{Metadata, (*Server).introspect}, true
	case "/oauth/revoke":
		return route{Revocation, (*Server).revoke}, true
	case "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", keysPath:
		return route{Discovery, (*Server).discover}, true
	case "/whoami":
		return route{API, (*Server).whoami}, true
	}
	return route{}, false
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	s.running.Add(1)
	s.mu.Unlock()
	defer s.running.Done()

	to, ok := find(r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	if err != nil && !errors.As(err, &tooLarge) {
		panic(http.ErrAbortHandler)
	}
	entry, faults := s.arrived(to.endpoint, r, body, tooLarge != nil)
	x := &Exchange{Request: *entry, s: s, handle: to.handle, entry: entry}
	for _, f := range faults {
		f(x)
	}
	if s.forgets(r) {
		x.Cut()
	}
	x.Commit()
	x.send(w)
}

func (s *Server) forgets(r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settings.ForgetsCut && r.Context().Err() != nil
}
