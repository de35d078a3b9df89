package adaptertest

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// browser is a client with its own cookies. It does not follow redirects.
type browser struct {
	site   *site
	client *http.Client

	mu   sync.Mutex
	seen []*http.Cookie // every cookie the site ever set
}

func (s *site) browser() *browser {
	jar, _ := cookiejar.New(nil) // never fails
	transport := &http.Transport{}
	if certificate := s.server.Certificate(); certificate != nil {
		pool := x509.NewCertPool()
		pool.AddCert(certificate)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &browser{site: s, client: &http.Client{
		Jar: jar, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answer is a response that has been read.
type answer struct {
	status  int
	header  http.Header
	body    string
	cookies []*http.Cookie
}

func (a *answer) location() string { return a.header.Get("Location") }

// cookie returns the Set-Cookie of that name; the last, if there are several.
func (a *answer) cookie(name string) (found *http.Cookie) {
	for _, c := range a.cookies {
		if c.Name == name {
			found = c
		}
	}
	return found
}

// flowCookies returns the cookies of sign-ins under way.
func flowCookies(cookies []*http.Cookie) (flows []*http.Cookie) {
	for _, c := range cookies {
		if strings.Contains(c.Name, "mxm_flow_") {
			flows = append(flows, c)
		}
	}
	return flows
}

var (
	// navigation is what a browser sends when a person follows a link.
	navigation = []string{"Accept", "text/html,application/xhtml+xml", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "none"}
	// fetch is what it sends for a script of the same site.
	fetch = []string{"Accept", "*/*", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Sec-Fetch-Site", "same-origin"}
)

// try sends a request and reads the answer; headers are pairs.
func (b *browser) try(method, target string, headers ...string) (*answer, error) {
	if strings.HasPrefix(target, "/") {
		target = b.site.url + target
	}
	r, err := http.NewRequest(method, target, nil)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	res, err := b.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	a := &answer{status: res.StatusCode, header: res.Header, body: string(body), cookies: res.Cookies()}
	if strings.HasPrefix(target, b.site.url) {
		b.remember(a)
	}
	return a, nil
}

func (b *browser) remember(a *answer) {
	_, _ = io.WriteString(&b.site.bodies, a.body+"\n")
	for _, c := range a.cookies {
		b.site.hide("the cookie "+c.Name, c.Value)
	}
	if u, err := url.Parse(a.location()); err == nil {
		b.site.hide("a state", u.Query().Get("state"))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seen = append(b.seen, a.cookies...)
}

// do is try, and fails the test if there is no answer.
func (b *browser) do(method, target string, headers ...string) *answer {
	b.site.t.Helper()
	a, err := b.try(method, target, headers...)
	if err != nil {
		b.site.t.Fatalf("%s %s: %v", method, target, err)
	}
	return a
}

// visit follows a link.
func (b *browser) visit(target string) *answer {
	b.site.t.Helper()
	return b.do(http.MethodGet, target, navigation...)
}

// submit sends an empty form, as a page of the same site does.
func (b *browser) submit(target string) *answer {
	b.site.t.Helper()
	return b.do(http.MethodPost, target, "Accept", "text/html", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "same-origin", "Origin", b.site.url)
}

// begin starts a sign-in and returns the callback URL to which Musixmatch
// redirects this browser.
func (b *browser) begin(returnTo string) (callback string) {
	b.site.t.Helper()
	target := loginPath
	if returnTo != "" {
		target += "?" + url.Values{"return_to": {returnTo}}.Encode()
	}
	return b.allow(b.visit(target))
}

// allow acts at Musixmatch as the user would.
func (b *browser) allow(login *answer) (callback string) {
	b.site.t.Helper()
	if login.status != http.StatusSeeOther || !strings.HasPrefix(login.location(), b.site.mxm.URL) {
		b.site.t.Fatalf("the login does not lead to Musixmatch: %d %q", login.status, login.location())
	}
	callback = b.do(http.MethodGet, login.location()).location()
	if !strings.HasPrefix(callback, b.site.url+mxmtest.CallbackPath+"?") {
		b.site.t.Fatalf("Musixmatch does not lead back to the callback: %q", callback)
	}
	return callback
}

// signIn completes a sign-in.
func (b *browser) signIn() *answer {
	b.site.t.Helper()
	a := b.visit(b.begin(""))
	if a.status != http.StatusSeeOther {
		b.site.t.Fatalf("the callback answers %d: %s", a.status, a.body)
	}
	return a
}

// user returns who the application thinks this is.
func (b *browser) user() string {
	b.site.t.Helper()
	a := b.do(http.MethodGet, whoAmI, fetch...)
	if a.status != http.StatusOK {
		b.site.t.Fatalf("GET %s: %d %s", whoAmI, a.status, a.body)
	}
	return a.body
}

// jar returns the cookies that the browser would send to the site.
func (b *browser) jar() []*http.Cookie {
	u, _ := url.Parse(b.site.url)
	return b.client.Jar.Cookies(u)
}

// with adds cookies to the browser.
func (b *browser) with(cookies ...*http.Cookie) *browser {
	u, _ := url.Parse(b.site.url)
	b.client.Jar.SetCookies(u, cookies)
	return b
}

// session returns the session cookie of the jar, or nil.
func (b *browser) session() *http.Cookie {
	for _, c := range b.jar() {
		if c.Name == b.site.sessions.Cookie.Name {
			return c
		}
	}
	return nil
}
