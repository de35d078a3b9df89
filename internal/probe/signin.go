package probe

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Arrival is what a browser brings to the redirect URL. The server sent it there
// after Sent, and before Received.
type Arrival struct {
	Query          url.Values
	Sent, Received time.Time
}

// SignIn takes a browser to an authorization URL, and returns what it brings back.
type SignIn func(ctx context.Context, authorizationURL string) (Arrival, error)

const maxHops = 20

// Follow returns a SignIn without a browser: it follows redirects, and keeps
// cookies from one sign-in to the next.
func Follow(transport http.RoundTripper, redirectURL string) SignIn {
	jar, _ := cookiejar.New(nil) // it has no error to return
	client := &http.Client{Transport: transport, Jar: jar, Timeout: callTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return func(ctx context.Context, next string) (Arrival, error) {
		for range maxHops {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, next, nil)
			if err != nil {
				return Arrival{}, errors.New("the server redirects to what is not a URL")
			}
			req.Header.Set("Accept", "text/html")
			sent := time.Now()
			resp, err := client.Do(req)
			if err != nil {
				return Arrival{}, cause(err)
			}
			_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
			resp.Body.Close()
			to, err := resp.Location()
			if err != nil {
				return Arrival{}, fmt.Errorf("the server shows a page (status %d at %s%s): sign in with a browser, without -follow",
					resp.StatusCode, req.URL.Host, req.URL.Path)
			}
			if isAt(to, redirectURL) {
				return Arrival{to.Query(), sent, time.Now()}, nil
			}
			next = to.String()
		}
		return Arrival{}, fmt.Errorf("the server redirects more than %d times", maxHops)
	}
}

// isAt reports whether u is the redirect URL, apart from the query.
func isAt(u *url.URL, redirectURL string) bool {
	want, err := url.Parse(redirectURL)
	return err == nil && u.Scheme == want.Scheme && u.Host == want.Host && u.Path == want.Path
}

// Browser lets people sign in with a browser of theirs. They open its URL once; it
// then leads them from one sign-in to the next. It is an http.Handler.
type Browser struct {
	// URL is where people begin. It is on this machine, and holds no secret.
	URL string

	paste    bool
	callback string
	server   http.Server
	mu       sync.Mutex
	wanted   string        // the authorization URL of the sign-in under way, or ""
	changed  chan struct{} // closed when wanted is set
	arrived  chan Arrival
	over     bool
	told     chan struct{} // closed when a page has said that it is over
	tell     sync.Once
}

// NewBrowser listens where redirectURL points to, a loopback host on http. With
// paste it listens on any free port instead: people then bring the address at which
// they arrived in another way.
func NewBrowser(redirectURL string, paste bool) (*Browser, error) {
	u, err := url.Parse(redirectURL)
	if err != nil {
		return nil, errors.New("the redirect URL is not a URL")
	}
	address := u.Host
	if paste {
		address = "127.0.0.1:0"
	} else if ip := net.ParseIP(u.Hostname()); u.Scheme != "http" || u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, errors.New("the redirect URL is not on this machine: use -paste, or register a loopback URL for the probe")
	}
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(u.Hostname(), "80")
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen where the redirect URL points to (is the application running?): %w", err)
	}
	host := u.Host
	if paste {
		host = l.Addr().String()
	}
	b := &Browser{URL: "http://" + host + "/", paste: paste, callback: u.Path, changed: make(chan struct{}), arrived: make(chan Arrival), told: make(chan struct{})}
	if b.URL == redirectURL {
		l.Close()
		return nil, errors.New("the redirect URL needs a path of its own, such as /callback")
	}
	b.server = http.Server{Handler: b, ReadHeaderTimeout: time.Minute}
	go func() { _ = b.server.Serve(l) }() // it ends with Close
	return b, nil
}

// Close tells the page that the probe is over, if it asks within a few seconds, and
// ends the listener.
func (b *Browser) Close() {
	b.mu.Lock()
	b.over = true
	close(b.changed)
	b.changed = make(chan struct{})
	b.mu.Unlock()
	if !b.paste { // then the browser is on another page
		select {
		case <-b.told:
		case <-time.After(3 * waitAtMost):
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), waitAtMost)
	defer cancel()
	if b.server.Shutdown(ctx) != nil {
		b.server.Close()
	}
}

// SignIn is a [SignIn].
func (b *Browser) SignIn(ctx context.Context, authorizationURL string) (Arrival, error) {
	b.Want(authorizationURL)
	select {
	case a := <-b.arrived:
		return a, nil
	case <-ctx.Done():
		return Arrival{}, ctx.Err()
	}
}

// Want makes the page at URL lead to an authorization URL, until its answer arrives.
func (b *Browser) Want(authorizationURL string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wanted = authorizationURL
	close(b.changed)
	b.changed = make(chan struct{})
}

// waitAtMost is how long a page waits for the next sign-in before it loads again.
const waitAtMost = time.Second

// ServeHTTP implements [http.Handler].
func (b *Browser) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	switch r.URL.Path {
	case "/":
		b.lead(w, r)
	case b.callback:
		if now := time.Now(); b.expects(r.URL.Query().Get("state")) {
			select {
			case b.arrived <- Arrival{r.URL.Query(), now, now}:
			case <-r.Context().Done():
			}
		}
		http.Redirect(w, r, "/", http.StatusSeeOther) // the code leaves the address bar
	default:
		http.NotFound(w, r)
	}
}

// expects reports whether an answer belongs to the sign-in under way, and ends that.
func (b *Browser) expects(state string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	u, err := url.Parse(b.wanted)
	if err != nil || b.wanted == "" || u.Query().Get("state") != state {
		return false
	}
	b.wanted = ""
	return true
}

func (b *Browser) lead(w http.ResponseWriter, r *http.Request) {
	deadline := time.NewTimer(waitAtMost)
	defer deadline.Stop()
	for {
		b.mu.Lock()
		wanted, changed, over := b.wanted, b.changed, b.over
		b.mu.Unlock()
		switch {
		case over:
			page(w, "The probe is over. You may close this window.", false)
			b.tell.Do(func() { close(b.told) })
			return
		case wanted != "":
			http.Redirect(w, r, wanted, http.StatusSeeOther)
			return
		}
		select {
		case <-changed:
		case <-deadline.C:
			page(w, "The probe is measuring. This page goes on by itself, to the next sign-in or to the end.", true)
			return
		case <-r.Context().Done():
			return
		}
	}
}

func page(w http.ResponseWriter, text string, again bool) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'")
	refresh := ""
	if again {
		refresh = `<meta http-equiv="refresh" content="1;url=/">`
	}
	fmt.Fprintf(w, `<!DOCTYPE html><html lang="en"><meta charset="utf-8">%s<title>mxm probe</title><h1>mxm probe</h1><p>%s</p>`,
		refresh, html.EscapeString(text))
}

// Pasted reads the address at which a browser arrived.
func Pasted(text, redirectURL string) (Arrival, error) {
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || !isAt(u, redirectURL) {
		return Arrival{}, errors.New("this is not the redirect URL with its query; paste the whole address of the page where the sign-in ends")
	}
	now := time.Now()
	return Arrival{u.Query(), now, now}, nil
}
