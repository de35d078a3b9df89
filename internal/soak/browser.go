//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"
)

// browser keeps one user's cookies. Its requests go to publicOrigin as far as it
// can tell, and to the instance that was chosen for each.
type browser struct {
	c   *crowd
	jar http.CookieJar
}

func (c *crowd) newBrowser() *browser {
	jar, _ := cookiejar.New(nil)
	return &browser{c, jar}
}

// copy is a browser with the same cookies, as a thief would have them.
func (b *browser) copy() *browser {
	public, _ := url.Parse(publicOrigin)
	other := b.c.newBrowser()
	other.jar.SetCookies(public, b.jar.Cookies(public))
	return other
}

// outcome is what came of a request.
type outcome struct {
	status   int    // 0: no answer
	code     string // of an error
	user     string // for whom the work was done
	location string
	left     bool // the user did not wait for the answer
}

func (o outcome) is(status int, code string) bool { return o.status == status && o.code == code }

// class is how the ledger counts it.
func (o outcome) class() string {
	switch {
	case o.left:
		return "abandoned"
	case o.status == 0:
		return "no answer"
	case o.status < 400:
		return fmt.Sprintf("%dxx", o.status/100)
	}
	return strings.TrimSpace(fmt.Sprint(o.status, " ", o.code))
}

const patience = 20 * time.Second // longer than the library's

// do sends a request to the public origin, by way of an instance.
func (b *browser) do(ctx context.Context, method, path string, instance int) outcome {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	public, err := url.Parse(publicOrigin + path)
	if err != nil {
		return outcome{}
	}
	req, err := http.NewRequestWithContext(ctx, method, public.String(), nil)
	if err != nil {
		return outcome{}
	}
	req.Host = public.Host
	req.URL.Host = b.c.fleet.instances[instance].addr.Load().(string)
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	for _, c := range b.jar.Cookies(public) {
		req.AddCookie(c)
	}
	res, err := b.c.transport.RoundTrip(req)
	if err != nil {
		return outcome{}
	}
	defer res.Body.Close()
	o := outcome{status: res.StatusCode, location: res.Header.Get("Location")}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return outcome{}
	}
	b.jar.SetCookies(public, res.Cookies())
	var said struct{ User, Error string }
	_ = json.Unmarshal(body, &said)
	o.user, o.code = said.User, said.Error
	return o
}

// authorize is what the browser does at Musixmatch: it allows as userID. It
// returns where Musixmatch sends it.
func (b *browser) authorize(ctx context.Context, location, userID string) (callback string) {
	at, err := url.Parse(location)
	if err != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	form := url.Values{"request": {at.RawQuery}, "user": {userID}, "decision": {"allow"}}
	at.Path, at.RawQuery = at.Path+"/decision", ""
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return ""
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := b.c.transport.RoundTrip(req)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	return strings.TrimPrefix(res.Header.Get("Location"), publicOrigin)
}
