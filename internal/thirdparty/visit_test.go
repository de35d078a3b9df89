package thirdparty_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/klauspost/compress/gzip"
	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

const (
	alice  = "mxm:100000000000000000001"
	logout = "/auth/musixmatch/logout"
)

// visitor is a browser at an application, and its fake Musixmatch.
type visitor struct {
	client *http.Client
	url    string
	user   string // who is signed in, as far as the visitor knows
}

// failures returns what does not work at an application, in the order of a visit.
func failures(t *testing.T, build func(*core.Auth) http.Handler, signsIn bool) (failed []string) {
	t.Helper()
	mxm := mxmtest.NewServer()
	defer mxm.Close()
	mxm.SignInAs(alice)
	srv := httptest.NewUnstartedServer(nil)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	v := &visitor{url: "http://" + srv.Listener.Addr().String()}
	v.client = &http.Client{
		Jar: jar, Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	var auth *core.Auth
	if signsIn {
		config := mxm.Config(v.url)
		config.Logger = slog.New(slog.DiscardHandler)
		auth, err = core.New(config)
		require.NoError(t, err)
	}
	srv.Config.Handler = build(auth)
	srv.Start()
	defer srv.Close()

	steps := []struct {
		name string
		do   func() error
	}{
		{"sign-in", v.signIn}, {"page", v.page}, {"stream", v.stream},
		{"WebSocket (coder)", func() error { return v.webSocket("/coder") }},
		{"WebSocket (gorilla)", func() error { return v.webSocket("/gorilla") }},
		{"panic", v.panic}, {"preflight", v.preflight}, {"sign-out", v.signOut},
	}
	for _, step := range steps {
		if !signsIn && strings.HasPrefix(step.name, "sign-") {
			continue
		}
		if err := step.do(); err != nil {
			t.Logf("%s: %v", step.name, err)
			failed = append(failed, step.name)
		}
	}
	return failed
}

func (v *visitor) do(method, target, body string, headers ...string) (*http.Response, string, error) {
	r, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := v.client.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res, string(text), err
}

func (v *visitor) signIn() error {
	target := v.url + "/auth/musixmatch/login?return_to=/page"
	for range 3 { // to Musixmatch, back to the callback, to the page
		res, body, err := v.do(http.MethodGet, target, "", "Accept", "text/html", "Accept-Encoding", "gzip")
		if err != nil {
			return err
		}
		next, err := res.Location()
		if err != nil {
			return fmt.Errorf("%d %s", res.StatusCode, body)
		}
		target = next.String()
	}
	v.user = alice
	return nil
}

func (v *visitor) page() error {
	_, body, err := v.do(http.MethodGet, v.url+"/page", "")
	if err == nil && body != "user="+v.user+"." {
		err = fmt.Errorf("it says %q", body)
	}
	return err
}

// stream reads the first event of a stream that is still open, as EventSource does.
func (v *visitor) stream() error {
	ctx, cancel := context.WithTimeout(context.Background(), 1500*time.Millisecond)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, v.url+"/events", nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Accept-Encoding", "gzip")
	res, err := v.client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body := io.Reader(res.Body)
	if res.Header.Get("Content-Encoding") == "gzip" {
		if body, err = gzip.NewReader(body); err != nil {
			return err
		}
	}
	first := make([]byte, len("data: first\n\n"))
	if _, err := io.ReadFull(body, first); err != nil {
		return err
	}
	if string(first) != "data: first\n\n" {
		return fmt.Errorf("it begins with %q", first)
	}
	return nil
}

func (v *visitor) webSocket(path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(v.url, "http")+path, &websocket.DialOptions{
		HTTPClient: v.client, HTTPHeader: http.Header{"Accept-Encoding": {"gzip"}, "Origin": {v.url}},
	})
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	_, text, err := conn.Read(ctx)
	if err == nil && string(text) != "user="+v.user+"." {
		err = fmt.Errorf("it says %q", text)
	}
	return err
}

// panic fails only where something turns a panic into an answer, and the answer
// is not a 500: without that, net/http closes the connection.
func (v *visitor) panic() error {
	res, _, err := v.do(http.MethodGet, v.url+"/panic", "")
	if err == nil && res.StatusCode != http.StatusInternalServerError {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	return nil
}

// preflight fails only where something answers preflights, and refuses one of
// the single-page application.
func (v *visitor) preflight() error {
	res, _, err := v.do(http.MethodOptions, v.url+logout, "", "Origin", spa, "Access-Control-Request-Method", "POST")
	if err == nil && res.StatusCode < 300 && res.Header.Get("Access-Control-Allow-Origin") != spa {
		return errors.New("it is not allowed")
	}
	return err
}

func (v *visitor) signOut() error {
	page, _, err := v.do(http.MethodGet, v.url+"/page", "")
	if err != nil {
		return err
	}
	form := url.Values{page.Header.Get("X-Form-Field"): {page.Header.Get("X-Form-Token")}}
	res, body, err := v.do(http.MethodPost, v.url+logout, form.Encode(), "Content-Type", "application/x-www-form-urlencoded",
		"Origin", v.url, "Referer", v.url+"/page", "Sec-Fetch-Site", "same-origin")
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusSeeOther {
		return fmt.Errorf("%d %s", res.StatusCode, body)
	}
	v.user = ""
	return v.page()
}
