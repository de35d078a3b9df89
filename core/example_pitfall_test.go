package core_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// connected is an application that ada has connected.
func connected(musixmatch *mxmtest.Server, change func(*core.Config)) *core.Auth {
	cfg := musixmatch.Config("http://localhost:8080")
	if change != nil {
		change(&cfg)
	}
	auth, err := core.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := auth.Import(context.Background(), musixmatch.Issue(ada).RefreshToken); err != nil {
		log.Fatal(err)
	}
	return auth
}

// Pitfall: do not keep a token, and put no ReuseTokenSource around the source.
// A refresh, on whichever instance, kills the token long before its expiry.
func ExampleAuth_TokenSource_pitfallReuse() {
	musixmatch := mxmtest.NewServer()
	defer musixmatch.Close()
	auth := connected(musixmatch, nil)
	ctx := context.Background()
	defer auth.Close(ctx)

	reused := oauth2.ReuseTokenSource(nil, auth.TokenSource(ctx, ada)) // wrong
	if _, err := reused.Token(); err != nil {
		log.Fatal(err)
	}
	musixmatch.ExpireAccessTokens(ada) // the API says 401, and Client refreshes
	if resp, err := auth.Client(ctx, ada).Get(musixmatch.APIURL() + "/whoami"); err == nil {
		resp.Body.Close()
	}

	kept, _ := reused.Token()
	asked, _ := auth.TokenSource(ctx, ada).Token() // right: it costs nothing
	fmt.Println("kept:", musixmatch.IsLive(kept.AccessToken))
	fmt.Println("asked for:", musixmatch.IsLive(asked.AccessToken))
	// Output:
	// kept: false
	// asked for: true
}

// Pitfall: Client sends tokens to musixmatch.com and to Config.APIOrigins only.
// For anything else use a client of its own.
func ExampleAuth_Client_pitfallOtherHosts() {
	musixmatch := mxmtest.NewServer()
	defer musixmatch.Close()
	auth := connected(musixmatch, nil)
	ctx := context.Background()
	defer auth.Close(ctx)

	_, err := auth.Client(ctx, ada).Get("https://elsewhere.example/")
	fmt.Println(errors.Unwrap(err))
	// Output:
	// musixmatch: api call: the configuration does not allow it: tokens are not sent to https://elsewhere.example; if they should be, add it to APIOrigins
}

// Pitfall: a body that can be read only once cannot be sent again when the token
// turns out to be dead. Give http.NewRequest a bytes.Reader or a strings.Reader,
// or set GetBody.
func ExampleAuth_Client_pitfallBody() {
	musixmatch := mxmtest.NewServer()
	defer musixmatch.Close()
	auth := connected(musixmatch, nil)
	ctx := context.Background()
	defer auth.Close(ctx)
	post := func(body io.Reader) error {
		musixmatch.ExpireAccessTokens(ada)
		resp, err := auth.Client(ctx, ada).Post(musixmatch.APIURL()+"/whoami", "text/plain", body)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}

	fmt.Println("read once:", errors.Is(post(io.MultiReader(strings.NewReader("lyrics"))), core.ErrUnavailable))
	fmt.Println("can be read again:", post(strings.NewReader("lyrics")))
	// Output:
	// read once: true
	// can be read again: <nil>
}

// Pitfall: a store without Keys is refused. A random key would make everything
// in it unreadable after the next deploy.
func ExampleConfig_pitfallStoreWithoutKeys() {
	_, err := core.New(core.Config{
		ClientID: "id", ClientSecret: "secret", RedirectURL: "https://app.example/auth/musixmatch/callback",
		Grants: core.NewMemory(),
	})
	fmt.Println(err)
	// Output:
	// musixmatch: the configuration is not usable:
	// Keys: is required when Sessions or Grants is set: other instances, and this one after a restart, must open what is stored
}

// Pitfall: a key that is dropped too early closes the grants it has sealed. They
// are unavailable, not lost: put the key back. To rotate, add the new key behind
// the old one on all instances, then move it to the front, and drop the old one
// when nothing is sealed by it any more.
func ExampleConfig_pitfallKeyDropped() {
	musixmatch := mxmtest.NewServer()
	defer musixmatch.Close()
	store, newer := core.NewMemory(), []byte("another example's key: 32 bytes.")
	with := func(keys ...[]byte) func(*core.Config) {
		return func(c *core.Config) { c.Grants, c.Keys = store, keys }
	}
	ctx := context.Background()
	before := connected(musixmatch, with(key))
	defer before.Close(ctx)

	for _, keys := range [][][]byte{{newer}, {newer, key}} {
		cfg := musixmatch.Config("http://localhost:8080")
		with(keys...)(&cfg)
		after, err := core.New(cfg)
		if err != nil {
			log.Fatal(err)
		}
		patience, cancel := context.WithTimeout(ctx, time.Second/2) // it goes on trying
		_, err = after.TokenSource(patience, ada).Token()
		cancel()
		fmt.Println(len(keys), "keys, unavailable:", errors.Is(err, core.ErrUnavailable))
		after.Close(ctx)
	}
	// Output:
	// 1 keys, unavailable: true
	// 2 keys, unavailable: false
}

type retrying struct{ http.RoundTripper }

// Pitfall: a transport that retries would spend a one-time token twice, so New
// refuses any that does not say, by SendsOnce, that it never does.
func ExampleConfig_pitfallRetryingTransport() {
	_, err := core.New(core.Config{
		ClientID: "id", ClientSecret: "secret", RedirectURL: "https://app.example/auth/musixmatch/callback",
		HTTPClient: &http.Client{Transport: retrying{http.DefaultTransport}},
	})
	fmt.Println(err)
	// Output:
	// musixmatch: the configuration is not usable:
	// HTTPClient: its Transport is a core_test.retrying; a transport other than *http.Transport must declare SendsOnce() bool
}

// Pitfall: memory is not shared. What one instance knows, another does not: with
// more than one, use redisstore or pgxstore.
func ExampleNewMemory_pitfallTwoInstances() {
	musixmatch := mxmtest.NewServer()
	defer musixmatch.Close()
	ctx := context.Background()
	one := connected(musixmatch, nil)
	defer one.Close(ctx)
	two, err := core.New(musixmatch.Config("http://localhost:8080"))
	if err != nil {
		log.Fatal(err)
	}
	defer two.Close(ctx)

	_, err = one.TokenSource(ctx, ada).Token()
	fmt.Println("one:", err)
	_, err = two.TokenSource(ctx, ada).Token()
	fmt.Println("two, has to connect again:", errors.Is(err, core.ErrReconnect))
	// Output:
	// one: <nil>
	// two, has to connect again: true
}

// Pitfall: a session that begins after the first byte of the answer has no
// cookie any more. Change the session, then write.
func ExampleAuth_Wrap_pitfallLateChange() {
	sessions := core.NewSessions(core.NewMemory())
	auth, err := core.New(core.Config{
		ClientID: "id", ClientSecret: "secret", RedirectURL: "https://app.example/auth/musixmatch/callback",
		Sessions: sessions, Keys: [][]byte{key}, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer auth.Close(context.Background())
	late := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "hello")
		sessions.Put(r.Context(), "seen", true)
	}
	inTime := func(w http.ResponseWriter, r *http.Request) {
		sessions.Put(r.Context(), "seen", true)
		fmt.Fprint(w, "hello")
	}
	for _, h := range []http.HandlerFunc{late, inTime} {
		w := httptest.NewRecorder()
		auth.Wrap(h).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		fmt.Println("cookies:", len(w.Result().Cookies()))
	}
	// Output:
	// cookies: 0
	// cookies: 1
}

// Pitfall: the callback's query holds a code and a state. Log paths, not URLs.
func ExampleAuth_Routes_pitfallAccessLog() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	r := httptest.NewRequest(http.MethodGet, "/auth/musixmatch/callback?code=one-time&state=secret", nil)
	logger.Info("request", "path", r.URL.Path) // not r.URL, not r.RequestURI
	// Output:
	// level=INFO msg=request path=/auth/musixmatch/callback
}
