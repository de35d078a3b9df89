package adaptertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

const (
	alice = "mxm:100000000000000000001"
	bob   = "mxm:100000000000000000002"

	base       = "/auth/musixmatch"
	loginPath  = base + "/login"
	logoutPath = base + "/logout"
	whoAmI     = "/whoami"
)

// site is an application under test, its fake Musixmatch, its log and its bodies.
type site struct {
	t        testing.TB
	mxm      *mxmtest.Server
	auth     *core.Auth
	second   *core.Auth
	sessions *scs.SessionManager
	store    *store
	url      string
	server   *httptest.Server
	log      transcript
	bodies   transcript

	mu      sync.Mutex
	secrets map[string]string // values that must not appear, and what they are
}

// setup is how a case differs from the others.
type setup struct {
	pages        []page
	noMiddleware bool
	requireUser  bool
	https        bool
	config       func(*core.Config)
	around       func(http.Handler) http.Handler
	second       *second
}

// second is another Auth on the same site.
type second struct {
	outside bool // it is App.Auth, and the other one App.Second
	config  func(*core.Config)
	pages   []page // need a user of it, and with requireUser one of the other, too
}

// page is a [Page] that knows its site.
type page struct {
	path        string
	requireUser bool
	serve       func(*site, http.ResponseWriter, *http.Request) error
}

func start(t testing.TB, adapter Adapter, with setup) *site {
	t.Helper()
	s := &site{t: t, mxm: mxmtest.NewServer(), store: &store{memory: core.NewMemory()}, secrets: make(map[string]string)}
	t.Cleanup(s.mxm.Close)
	s.mxm.SignInAs(alice)

	s.server = httptest.NewUnstartedServer(nil)
	s.server.Config.ErrorLog = log.New(&s.log, "", 0)
	s.url = "http://" + s.server.Listener.Addr().String()
	if with.https {
		s.url = "https://" + s.server.Listener.Addr().String()
	}

	config := s.mxm.Config(s.url)
	s.sessions = core.NewSessions(s.store)
	config.Sessions = s.sessions
	config.Grants = s.store.memory
	config.Keys = [][]byte{[]byte("0123456789abcdefghijklmnopqrstuv")}
	config.Logger = slog.New(slog.NewJSONHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	config.AfterLogin, config.AfterLogout = "/welcome", "/bye"
	if with.config != nil {
		with.config(&config)
	}
	s.auth = s.newAuth(config)
	s.hide("the client secret", config.ClientSecret)
	s.hide("a key", string(config.Keys[0]))

	app := App{Auth: s.auth, Middleware: !with.noMiddleware, RequireUser: with.requireUser, WhoAmI: whoAmI}
	for _, p := range with.pages {
		app.Pages = append(app.Pages, s.page(p, p.requireUser, false))
	}
	if with.second != nil {
		with.second.config(&config)
		s.second = s.newAuth(config)
		app.Second = s.second
		for _, p := range with.second.pages {
			app.Pages = append(app.Pages, s.page(p, p.requireUser, true))
		}
		if with.second.outside {
			app.Auth, app.Second = app.Second, app.Auth
			for i, p := range app.Pages {
				app.Pages[i].RequireUser, app.Pages[i].RequireSecond = p.RequireSecond, p.RequireUser
			}
		}
	}
	s.server.Config.Handler = adapter(app)
	if with.around != nil {
		s.server.Config.Handler = with.around(s.server.Config.Handler)
	}
	if with.https {
		s.server.StartTLS()
	} else {
		s.server.Start()
	}
	t.Cleanup(func() {
		s.server.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for _, auth := range []*core.Auth{s.auth, s.second} {
			if auth == nil {
				continue
			}
			if err := auth.Close(ctx); err != nil {
				t.Error(err)
			}
		}
		s.checkUnsaid()
	})
	return s
}

func (s *site) newAuth(config core.Config) *core.Auth {
	s.t.Helper()
	auth, err := core.New(config)
	if err != nil {
		s.t.Fatal(err)
	}
	return auth
}

func (s *site) page(p page, requireUser, requireSecond bool) Page {
	return Page{Path: p.path, RequireUser: requireUser, RequireSecond: requireSecond, Serve: func(w http.ResponseWriter, r *http.Request) error {
		return p.serve(s, w, r)
	}}
}

// put writes to the session of a request, as applications do.
func (s *site) put(r *http.Request, value string) { s.sessions.Put(r.Context(), "note", value) }

// note is a page that shows what put wrote.
func (s *site) note(w http.ResponseWriter, r *http.Request) error {
	_, err := fmt.Fprint(w, "note="+s.sessions.GetString(r.Context(), "note"))
	return err
}

// exchanges counts the codes that reached the token endpoint.
func (s *site) exchanges() (n int) {
	for _, r := range s.mxm.Requests() {
		if r.Endpoint == mxmtest.Token {
			n++
		}
	}
	return n
}

func (s *site) hide(what, value string) {
	if len(value) < 8 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets[value] = what
}

// checkUnsaid looks for secrets in logs and bodies.
func (s *site) checkUnsaid() {
	for _, r := range s.mxm.Requests() {
		s.hide("a token", r.Token)
		s.hide("a code", r.Form.Get("code"))
		s.hide("a verifier", r.Form.Get("code_verifier"))
	}
	for _, user := range []string{alice, bob} {
		for _, family := range s.mxm.Live(user) {
			s.hide("an access token", family.AccessToken)
			s.hide("a refresh token", family.RefreshToken)
		}
	}
	logged, sent := s.log.String(), s.bodies.String()
	for value, what := range s.secrets {
		if strings.Contains(logged, value) {
			s.t.Errorf("%s is in the log", what)
		}
		if strings.Contains(sent, value) {
			s.t.Errorf("%s is in a body", what)
		}
	}
}

// transcript collects text from any goroutine.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (tr *transcript) Write(b []byte) (int, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.text.Write(b)
}

func (tr *transcript) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.text.String()
}

var errStore = errors.New("the store is down")

// store is a session store that fails on demand, counts, and may log.
type store struct {
	memory                         *core.Memory
	log                            atomic.Pointer[slog.Logger]
	findFails, writeFails, garbled atomic.Bool
	finds, commits, deletes        atomic.Int64
}

func (s *store) say(ctx context.Context, what string) {
	if log := s.log.Load(); log != nil {
		log.InfoContext(ctx, what)
	}
}

func (s *store) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	s.say(ctx, "find")
	s.finds.Add(1)
	if s.findFails.Load() {
		return nil, false, errStore
	}
	b, found, err := s.memory.FindCtx(ctx, token)
	if found && s.garbled.Load() {
		b = []byte("\xffnot a session")
	}
	return b, found, err
}

func (s *store) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	s.say(ctx, "commit")
	s.commits.Add(1)
	if s.writeFails.Load() {
		return errStore
	}
	return s.memory.CommitCtx(ctx, token, b, expiry)
}

func (s *store) DeleteCtx(ctx context.Context, token string) error {
	s.say(ctx, "delete")
	s.deletes.Add(1)
	if s.writeFails.Load() {
		return errStore
	}
	return s.memory.DeleteCtx(ctx, token)
}

func (s *store) Find(token string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), token)
}

func (s *store) Commit(token string, b []byte, expiry time.Time) error {
	return s.CommitCtx(context.Background(), token, b, expiry)
}

func (s *store) Delete(token string) error { return s.DeleteCtx(context.Background(), token) }
