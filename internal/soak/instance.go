//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"syscall"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/internal/stores"
	"github.com/mxmconnect/mxmconnect/nethttpmw"
)

// settings is what an instance is told, in its environment.
type settings struct {
	Musixmatch     string // its base URL
	Gateway        string // the address where this instance reaches it
	Store          string // a URL
	Key            []byte
	RefreshTimeout time.Duration
	IdleTimeout    time.Duration
	Mutant         string
}

const (
	variable = "SOAK_INSTANCE"
	// publicOrigin is where browsers believe the application to be. Nobody
	// listens there: each request is sent to an instance of the user's choice.
	publicOrigin = "http://localhost"

	grace = 45 * time.Second // of requests, and then of refreshes, at the end
)

func isInstance() bool { return os.Getenv(variable) != "" }

// instanceMain is an instance, until SIGTERM or until its parent is gone. Its
// address is the first line it prints.
func instanceMain() int {
	var s settings
	if err := json.Unmarshal([]byte(os.Getenv(variable)), &s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	slog.SetDefault(log)
	if err := s.serve(ctx, log); err != nil {
		log.Error("it ends", "error", err.Error())
		return 1
	}
	return 0
}

func (s settings) serve(ctx context.Context, log *slog.Logger) error {
	store, closeStore, err := stores.Open(ctx, s.Store)
	if err != nil {
		return err
	}
	defer closeStore()
	var grants core.GrantStore = store
	if s.Mutant == lastWrite {
		grants = lastWriteWins{store}
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, s.Gateway)
		},
		MaxIdleConnsPerHost: 32,
		IdleConnTimeout:     2 * time.Second,
	}
	cfg := core.Config{
		ClientID:       mxmtest.DefaultClientID,
		ClientSecret:   mxmtest.DefaultClientSecret,
		RedirectURL:    publicOrigin + mxmtest.CallbackPath,
		BaseURL:        s.Musixmatch,
		APIOrigins:     []string{s.Musixmatch},
		Sessions:       core.NewSessions(store),
		Grants:         grants,
		Keys:           [][]byte{s.Key},
		RefreshTimeout: s.RefreshTimeout,
		ErrorHandler:   core.WriteError,
		HTTPClient:     &http.Client{Transport: transport},
		Logger:         log,
	}
	cfg.Sessions.IdleTimeout = s.IdleTimeout
	auth, err := core.New(cfg)
	if err != nil {
		return err
	}
	app := &application{auth: auth, api: s.Musixmatch + "/whoami"}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := http.Server{Handler: app.handler(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelError)}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	fmt.Println(l.Addr())
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if err := server.Shutdown(end); err != nil {
		return err
	}
	end, cancel = context.WithTimeout(context.Background(), grace)
	defer cancel()
	return auth.Close(end)
}

// application is what the users use.
type application struct {
	auth *core.Auth
	api  string
}

func (a *application) handler() http.Handler {
	pages := http.NewServeMux()
	nethttpmw.Mount(pages, a.auth)
	signedIn := nethttpmw.RequireUser(a.auth)
	pages.Handle("GET /me", signedIn(http.HandlerFunc(a.me)))
	pages.Handle("GET /call", signedIn(http.HandlerFunc(a.call)))
	pages.Handle("GET /slow", signedIn(http.HandlerFunc(a.slow)))
	mux := http.NewServeMux()
	mux.Handle("/", nethttpmw.Middleware(a.auth)(pages))
	mux.HandleFunc("GET /job", a.job)
	mux.HandleFunc("GET /debug/runtime", measure)
	return mux
}

func (a *application) me(w http.ResponseWriter, r *http.Request) { reply(w, nethttpmw.UserID(r)) }

// call needs a token.
func (a *application) call(w http.ResponseWriter, r *http.Request) {
	a.whoami(w, r, nethttpmw.UserID(r))
}

// slow has the session open for long, and needs a token in the end.
func (a *application) slow(w http.ResponseWriter, r *http.Request) {
	ms, _ := strconv.Atoi(r.URL.Query().Get("ms"))
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
	case <-r.Context().Done():
	}
	a.call(w, r)
}

// job is work for a user who is not there: no session, and nobody's request.
func (a *application) job(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), 10*time.Second)
	defer cancel()
	a.whoami(w, r.WithContext(ctx), r.URL.Query().Get("user"))
}

func (a *application) whoami(w http.ResponseWriter, r *http.Request, userID string) {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, a.api, nil)
	if err != nil {
		core.WriteError(w, r, err)
		return
	}
	res, err := a.auth.Client(r.Context(), userID).Do(req)
	if err != nil {
		var typed *core.Error
		if !errors.As(err, &typed) {
			err = core.ErrUpstream
		}
		core.WriteError(w, r, err)
		return
	}
	defer res.Body.Close()
	var answer struct{ Sub string }
	if res.StatusCode != http.StatusOK || json.NewDecoder(res.Body).Decode(&answer) != nil {
		slog.Warn("the API refuses", "status", res.StatusCode)
		core.WriteError(w, r, core.ErrUpstream)
		return
	}
	reply(w, answer.Sub)
}

// usageOf is what a process takes.
type usageOf struct {
	Goroutines int
	Heap       uint64 // bytes, after a collection
}

func usageHere() usageOf {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usageOf{runtime.NumGoroutine(), m.HeapAlloc}
}

func measure(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(usageHere())
}

// reply says for whom the work was done.
func reply(w http.ResponseWriter, userID string) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"user": userID})
}
