package core_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
	"github.com/mxmconnect/mxmconnect/nethttpmw"
)

const (
	ada   = "mxm:100000000000000000001"
	grace = "mxm:100000000000000000002"
)

// offline returns what an application on app has for configuration: of a fake
// Musixmatch here, where ada allows everything.
func offline(musixmatch *mxmtest.Server, app *httptest.Server) core.Config {
	musixmatch.SignInAs(ada)
	return musixmatch.Config("http://" + app.Listener.Addr().String())
}

// browser keeps cookies and follows redirects.
type browser struct{ http.Client }

func newBrowser() *browser {
	jar, _ := cookiejar.New(nil)
	return &browser{http.Client{Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}}}
}

func (b *browser) open(method, url string) {
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		log.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	resp, err := b.Do(req)
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err == nil && resp.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		fmt.Print(string(body))
		return
	}
	fmt.Println(resp.StatusCode)
}

// An application with sessions of its own data keeps it beside the sign-in, in
// the same session: one manager, one cookie, one read for each request.
func ExampleNewSessions() {
	musixmatch := mxmtest.NewServer()
	defer musixmatch.Close()
	app := httptest.NewUnstartedServer(nil)
	cfg := offline(musixmatch, app)

	store := core.NewMemory() // or redisstore, pgxstore, mysqlstore, sqlitestore
	sessions := core.NewSessions(store)
	sessions.Lifetime = 7 * 24 * time.Hour
	sessions.IdleTimeout = 8 * time.Hour
	cfg.Sessions, cfg.Grants, cfg.Keys = sessions, store, [][]byte{key}
	auth, err := core.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer auth.Close(context.Background())

	mux := http.NewServeMux()
	nethttpmw.Mount(mux, auth)
	mux.Handle("GET /visit", nethttpmw.RequireUser(auth)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		visits := sessions.GetInt(r.Context(), "visits") + 1
		sessions.Put(r.Context(), "visits", visits)
		fmt.Fprintln(w, nethttpmw.UserID(r), "visit", visits)
	})))
	app.Config.Handler = nethttpmw.Middleware(auth)(mux)
	app.Start()
	defer app.Close()

	b := newBrowser()
	b.open("GET", app.URL+"/visit")
	b.open("GET", app.URL+"/visit")
	// Output:
	// mxm:100000000000000000001 visit 1
	// mxm:100000000000000000001 visit 2
}

// key seals what is stored: 32 random bytes from a secret store, the same on
// all instances.
var key = []byte("an example's key: 32 bytes long.")

// After a stolen laptop: the user sees where they are signed in, and ends it.
func ExampleAuth_SignOutEverywhere() {
	musixmatch := mxmtest.NewServer()
	defer musixmatch.Close()
	app := httptest.NewUnstartedServer(nil)
	auth, err := core.New(offline(musixmatch, app))
	if err != nil {
		log.Fatal(err)
	}
	defer auth.Close(context.Background())

	mux := http.NewServeMux()
	nethttpmw.Mount(mux, auth)
	mux.Handle("GET /browsers", nethttpmw.RequireUser(auth)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sessions, err := auth.Sessions(r.Context(), nethttpmw.UserID(r))
		if err != nil {
			core.WriteError(w, r, err)
			return
		}
		for _, s := range sessions {
			fmt.Fprintln(w, s.Browser, s.Current)
		}
	})))
	app.Config.Handler = nethttpmw.Middleware(auth)(mux)
	app.Start()
	defer app.Close()

	laptop, phone := newBrowser(), newBrowser()
	laptop.open("GET", app.URL+"/browsers")
	phone.open("GET", app.URL+"/browsers")

	ended, err := auth.SignOutEverywhere(context.Background(), ada) // and auth.Disconnect, to end the tokens as well
	fmt.Println(ended, err)
	// Output:
	// Unknown browser true
	// Unknown browser true
	// Unknown browser false
	// 2 <nil>
}

// An application with accounts of its own connects Musixmatch to them: AppUser
// says who is signed in, OnLogin keeps the link, LinkedUser knows it.
func ExampleConfig_connect() {
	musixmatch := mxmtest.NewServer()
	defer musixmatch.Close()
	app := httptest.NewUnstartedServer(nil)
	cfg := offline(musixmatch, app)

	var accounts sync.Map // the application's database: the Musixmatch user → its own
	cfg.AppUser = func(r *http.Request) string { return "account 7" }
	cfg.OnLogin = func(ctx context.Context, l *core.Login) error {
		if owner, _ := accounts.LoadOrStore(l.UserID, l.AppUser); owner != l.AppUser {
			return core.ErrLoginRefused // it belongs to somebody else's account
		}
		return nil
	}
	cfg.LinkedUser = func(ctx context.Context, appUser string) (userID string, err error) {
		accounts.Range(func(linked, owner any) bool {
			if owner == appUser {
				userID = linked.(string)
			}
			return owner != appUser
		})
		return userID, nil
	}
	cfg.AfterLogin = "/account"
	auth, err := core.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer auth.Close(context.Background())

	mux := http.NewServeMux()
	nethttpmw.Mount(mux, auth)
	mux.HandleFunc("GET /account", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "account 7 is", nethttpmw.UserID(r))
	})
	app.Config.Handler = nethttpmw.Middleware(auth)(mux)
	app.Start()
	defer app.Close()

	b := newBrowser()
	b.open("POST", app.URL+auth.LoginURL("")) // a form's button
	// Output:
	// account 7 is mxm:100000000000000000001
}

// Client calls Musixmatch's API for a user who has signed in, now or months
// ago. ErrReconnect is the one error that only the user can do something about.
func ExampleAuth_Client() {
	musixmatch := mxmtest.NewServer()
	defer musixmatch.Close()
	auth, err := core.New(musixmatch.Config("http://localhost:8080"))
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer auth.Close(ctx)
	userID, err := auth.Import(ctx, musixmatch.Issue(ada).RefreshToken)
	if err != nil {
		log.Fatal(err)
	}

	call := func() {
		resp, err := auth.Client(ctx, userID).Get(musixmatch.APIURL() + "/whoami")
		switch {
		case errors.Is(err, core.ErrReconnect):
			fmt.Println("please connect to Musixmatch again")
			return
		case err != nil:
			log.Fatal(err) // ErrUnavailable: try again later
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		fmt.Println(string(body))
	}
	call()
	musixmatch.ExpireAccessTokens(userID) // a refresh, and nobody notices
	call()
	if err := auth.Verify(ctx, userID); err != nil {
		log.Fatal(err)
	}
	musixmatch.Revoke(userID) // the user withdraws consent
	call()
	// Output:
	// {"sub":"mxm:100000000000000000001"}
	// {"sub":"mxm:100000000000000000001"}
	// please connect to Musixmatch again
}

// A job acts for users who are not there. It needs their IDs and the same
// stores and keys as the application; there is no request and no session.
func ExampleAuth_Client_job() {
	musixmatch := mxmtest.NewServer()
	defer musixmatch.Close()
	auth, err := core.New(musixmatch.Config("http://localhost:8080"))
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer auth.Close(ctx)
	if _, err := auth.Import(ctx, musixmatch.Issue(ada).RefreshToken); err != nil {
		log.Fatal(err)
	}

	for _, userID := range []string{ada, grace} {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		resp, err := auth.Client(ctx, userID).Get(musixmatch.APIURL() + "/whoami")
		if errors.Is(err, core.ErrReconnect) {
			fmt.Println(userID, "has to connect again: send a mail, go on with the next")
		} else if err != nil {
			fmt.Println(userID, "later:", err)
		} else {
			resp.Body.Close()
			fmt.Println(userID, resp.Status)
		}
		cancel()
	}
	// Output:
	// mxm:100000000000000000001 200 OK
	// mxm:100000000000000000002 has to connect again: send a mail, go on with the next
}

// AppClient calls Musixmatch as the application: client credentials, no user.
// Its token is cached.
func ExampleAuth_AppClient() {
	musixmatch := mxmtest.NewServer()
	defer musixmatch.Close()
	auth, err := core.New(musixmatch.Config("http://localhost:8080"))
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer auth.Close(ctx)

	client := auth.AppClient(ctx)
	for range 2 {
		resp, err := client.Get(musixmatch.APIURL() + "/whoami")
		if err != nil {
			log.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Println(string(body))
	}
	asked := 0
	for _, r := range musixmatch.Requests() {
		if r.Endpoint == mxmtest.Token {
			asked++
		}
	}
	fmt.Println("tokens asked for:", asked)
	// Output:
	// {"client_id":"mxmtest-client"}
	// {"client_id":"mxmtest-client"}
	// tokens asked for: 1
}

// table is a GrantStore of one's own. A database does CommitGrant in one
// statement, such as UPDATE … WHERE key = $1 AND version = $2, and its time
// decides what has expired. storetest.RunGrants tells whether a store is right.
type table struct {
	mu   sync.Mutex
	rows map[string]core.Record
}

func (t *table) FindGrant(_ context.Context, key string) (core.Record, bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, found := t.find(key)
	return r, found, nil
}

func (t *table) find(key string) (r core.Record, found bool) {
	r, found = t.rows[key]
	if found && !r.Expiry.IsZero() && !time.Now().Before(r.Expiry) {
		return core.Record{}, false // expired is absent
	}
	return r, found
}

func (t *table) CommitGrant(_ context.Context, key, old string, r core.Record) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if stored, _ := t.find(key); stored.Version != old {
		return core.ErrConflict
	}
	t.rows[key] = r
	return nil
}

func (t *table) DeleteGrant(_ context.Context, key string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.rows, key)
	return nil
}

// Grants can be kept anywhere: three methods, of which one compares and swaps.
func ExampleGrantStore() {
	musixmatch := mxmtest.NewServer()
	defer musixmatch.Close()
	cfg := musixmatch.Config("http://localhost:8080")
	cfg.Grants = &table{rows: map[string]core.Record{}}
	cfg.Keys = [][]byte{key}
	auth, err := core.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer auth.Close(ctx)

	userID, err := auth.Import(ctx, musixmatch.Issue(ada).RefreshToken)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(userID, auth.Verify(ctx, userID))
	// Output:
	// mxm:100000000000000000001 <nil>
}

// The application's own tests of a page behind the sign-in need no sign-in:
// WithUserID puts a user into the context.
func ExampleWithUserID() {
	page := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "Hello ", core.UserID(r.Context()))
	}

	r := httptest.NewRequest(http.MethodGet, "/", nil)
	w := httptest.NewRecorder()
	page(w, r.WithContext(core.WithUserID(r.Context(), ada)))
	fmt.Println(w.Body)
	// Output:
	// Hello mxm:100000000000000000001
}

// An application tests what it does about failures with a fake Musixmatch. Here
// a refresh succeeds and its answer is lost, so nobody has the new tokens.
func ExampleAuth_Client_ownTests() {
	musixmatch := mxmtest.NewServer()
	defer musixmatch.Close()
	cfg := musixmatch.Config("http://localhost:8080")
	cfg.RefreshTimeout = time.Second // and with it the waits of the protocol
	cfg.OnEvent = func(_ context.Context, e core.Event) {
		if e.Kind == core.EventReconnect {
			fmt.Println("event:", e.Kind, e.Reason)
		}
	}
	auth, err := core.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer auth.Close(ctx)
	userID, err := auth.Import(ctx, musixmatch.Issue(ada).RefreshToken)
	if err != nil {
		log.Fatal(err)
	}

	musixmatch.ExpireAccessTokens(userID)
	musixmatch.Fail(mxmtest.Token, mxmtest.DropResponse, mxmtest.Grant("refresh_token"))
	_, err = auth.Client(ctx, userID).Get(musixmatch.APIURL() + "/whoami")
	fmt.Println("the user is asked to connect again:", errors.Is(err, core.ErrReconnect))
	// Output:
	// event: reconnect lost_response
	// the user is asked to connect again: true
}

// Verify asks Musixmatch whether a user's connection still lives.
func ExampleAuth_Verify() {
	musixmatch := mxmtest.NewServer()
	defer musixmatch.Close()
	auth, err := core.New(musixmatch.Config("http://localhost:8080"))
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer auth.Close(ctx)
	userID, err := auth.Import(ctx, musixmatch.Issue(ada).RefreshToken)
	if err != nil {
		log.Fatal(err)
	}

	fmt.Println("connected:", auth.Verify(ctx, userID) == nil)
	if err := auth.Disconnect(ctx, userID); err != nil {
		log.Fatal(err)
	}
	fmt.Println("has to connect again:", errors.Is(auth.Verify(ctx, userID), core.ErrReconnect))
	// Output:
	// connected: true
	// has to connect again: true
}

// On SIGTERM an application first lets its requests finish, then waits for the
// refreshes that are under way: one that is cut off is the one thing that can
// cost a grant. Give both 45 seconds (terminationGracePeriodSeconds and the like).
func ExampleAuth_Close() {
	auth, err := core.New(core.Config{ClientID: "id", ClientSecret: "secret", RedirectURL: "https://app.example/auth/musixmatch/callback"})
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Addr: "127.0.0.1:0", Handler: auth.Wrap(http.NotFoundHandler())}
	stopped := make(chan error)
	go func() { stopped <- server.ListenAndServe() }()

	// signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM) says when.
	ctx, cancel := context.WithTimeout(context.Background(), 45*time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		log.Print(err)
	}
	if err := auth.Close(ctx); err != nil {
		log.Print(err)
	}
	<-stopped
	fmt.Println("nothing is lost")
	// Output:
	// nothing is lost
}

// Import takes over a refresh token that other code has kept so far, which must
// forget it: the token is spent.
func ExampleAuth_Import() {
	musixmatch := mxmtest.NewServer()
	defer musixmatch.Close()
	auth, err := core.New(musixmatch.Config("http://localhost:8080"))
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer auth.Close(ctx)
	kept := musixmatch.Issue(ada).RefreshToken // in a column of the users table, so far

	userID, err := auth.Import(ctx, kept)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(userID, "moved in; the old token lives:", musixmatch.IsLive(kept))
	// Output:
	// mxm:100000000000000000001 moved in; the old token lives: false
}

// New names every mistake at once, and prints no secret.
func ExampleNew_mistakes() {
	_, err := core.New(core.Config{
		ClientID: "id", ClientSecret: "secret",
		RedirectURL: "http://app.example/callback",
		AfterLogin:  "https://elsewhere.example/",
	})
	fmt.Println(err)
	// Output:
	// musixmatch: the configuration is not usable:
	// RedirectURL: must be https; plain http is for loopback hosts, or for DangerouslyAllowHTTP
	// AfterLogin: must be a path on this site, is "https://elsewhere.example/"
}
