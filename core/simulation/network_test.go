package simulation_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

const (
	musixmatchURL = "http://127.0.0.1:9999"
	appURL        = "http://127.0.0.1:8080"
)

var (
	errReset   = errors.New("connection reset by peer")
	errRefused = errors.New("connection refused")
)

// exchange is one request to Musixmatch on its way.
type exchange struct {
	w       *world
	p       *process
	number  int
	request *http.Request
	body    []byte

	kind    string    // refresh, code, look or api
	refresh string    // the refresh token presented
	user    int       // whose it is; -1: unknown
	sent    time.Time // when the process came to the first write
	issued  *coin     // what it got
	look    look      // what it asks token-metadata
	lie     bool      // token-metadata does not tell the truth
	heard   bool      // its process knew the server's clock
	harmed  bool      // the answer never arrived whole
	dice    *dice
}

// look is a question to token-metadata.
type look struct {
	p      *process
	caller bool // for a caller, and not for a refresh in doubt
	token  string
}

func (p *process) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	caller := callerOf(ctx)
	if err := p.step("dial", caller); err != nil {
		return nil, err
	}
	w := p.w
	w.mu.Lock()
	d := w.roll("dial", p.index, p.life, caller, p.steps[stepKey{"dial", caller}])
	latency := d.between(300*time.Microsecond, 20*time.Millisecond)
	refused := w.faults && d.chance(w.profile.refuseDial)
	if w.faults && d.chance(w.profile.slowDial) {
		w.count("net: slow dial")
		latency = d.between(500*time.Millisecond, 8*time.Second)
	}
	w.mu.Unlock()
	if err := sleep(ctx, latency); err != nil {
		return nil, err
	}
	if refused {
		w.note(p, "net: refused", "cannot connect")
		return nil, errRefused
	}
	return &conn{w: w, p: p, caller: caller, closed: make(chan struct{}), news: make(chan struct{}, 1)}, nil
}

type callerKey struct{}

const firstCaller = 1000

// callerOf returns the number of the application's call that ctx belongs to,
// or -1 for what an instance does on its own. Calls that are made at the same
// instant are told apart by it, whichever comes first.
func callerOf(ctx context.Context) int {
	if n, ok := ctx.Value(callerKey{}).(int); ok {
		return n
	}
	return -1
}

// conn is one connection in memory, good for one request.
type conn struct {
	w      *world
	p      *process
	caller int // see callerOf

	// Guarded by w.mu.
	in       []byte
	began    time.Time
	x        *exchange
	out      []byte
	ended    error // what reading ends with, after out
	answered bool
	isClosed bool

	closed chan struct{}
	news   chan struct{}
}

func (c *conn) Write(b []byte) (int, error) {
	c.w.mu.Lock()
	first := len(c.in) == 0
	if first {
		c.began = time.Now()
		c.w.presents(c.p, b)
	}
	c.w.mu.Unlock()
	if first {
		if err := c.p.step("send", c.caller); err != nil {
			return 0, err
		}
	}
	c.w.mu.Lock()
	if c.isClosed || c.p.dead {
		c.w.mu.Unlock()
		return 0, net.ErrClosed
	}
	c.in = append(c.in, b...)
	if x := c.w.parse(c); x != nil && c.x == nil {
		c.x = x
		c.w.background.Go(func() { x.travel(c) })
	}
	c.w.mu.Unlock()
	if err := c.p.step("sent", c.caller); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (c *conn) Read(b []byte) (int, error) {
	for {
		c.w.mu.Lock()
		switch {
		case c.isClosed:
			c.w.mu.Unlock()
			return 0, net.ErrClosed
		case len(c.out) > 0 && !c.answered:
			c.answered = true
			c.w.mu.Unlock()
			if err := c.p.step("answer", c.caller); err != nil {
				return 0, err
			}
			continue
		case len(c.out) > 0:
			if c.p.dead {
				c.w.mu.Unlock()
				return 0, errCrashed
			}
			n := copy(b, c.out)
			c.w.delivered(c.x, c.p, c.out[:n])
			c.out = c.out[n:]
			c.w.mu.Unlock()
			return n, nil
		case c.ended != nil:
			defer c.w.mu.Unlock()
			return 0, c.ended
		}
		c.w.mu.Unlock()
		select {
		case <-c.news:
		case <-c.closed:
		}
	}
}

// answer lets b arrive, then the connection end; all at once.
func (c *conn) answer(b []byte, end error) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if x := c.x; c.isClosed && x.issued != nil && !x.harmed && !c.p.dead && !c.w.closing &&
		time.Since(x.sent) < refreshTimeout-3*time.Second && // the budget may have been used
		c.p.stoppedBetween(x.sent, time.Now()) == 0 {
		x.issued.thrown = c.p.name()
	}
	c.out, c.ended = b, end
	select {
	case c.news <- struct{}{}:
	default:
	}
}

func (c *conn) Close() error {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if !c.isClosed {
		c.isClosed = true
		close(c.closed)
	}
	return nil
}

func (c *conn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *conn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *conn) SetDeadline(time.Time) error      { return nil }
func (c *conn) SetReadDeadline(time.Time) error  { return nil }
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// parse returns the request of a connection when all of it is there. w.mu is held.
func (w *world) parse(c *conn) *exchange {
	if !bytes.Contains(c.in, []byte("\r\n\r\n")) {
		return nil
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(c.in)))
	if err != nil {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil
	}
	form, _ := url.ParseQuery(string(body))
	w.exchanges++
	x := &exchange{w: w, p: c.p, number: w.exchanges, request: r, body: body, sent: c.began, user: -1, heard: c.p.heard}
	switch {
	case form.Get("grant_type") == "refresh_token":
		x.kind, x.refresh = "refresh", form.Get("refresh_token")
		if coin := w.coins[x.refresh]; coin != nil {
			x.user = coin.family.user.index
			coin.presented++
			x.number = coin.presented
		}
	case strings.HasSuffix(r.URL.Path, "/token"):
		x.kind = "code"
	case strings.HasSuffix(r.URL.Path, "/token-metadata"):
		x.kind, x.look = "look", look{c.p, c.caller >= firstCaller, form.Get("accessToken")}
	default:
		x.kind, x.user = "api", c.caller
	}
	key := stepKey{"exchange " + x.kind, x.user}
	c.p.steps[key]++
	x.dice = w.roll(key.kind, c.p.index, c.p.life, x.user, c.p.steps[key])
	return x
}

// travel is what becomes of a request, whether or not its sender still lives.
func (x *exchange) travel(c *conn) {
	w, d, p := x.w, x.dice, x.w.profile
	faulty := w.faulty() && x.kind != "api"
	hit := func(rate float64) bool { return d.chance(rate) && faulty }
	asked := x.kind == "refresh"

	there := d.between(2*time.Millisecond, 120*time.Millisecond)
	if p.slowPOST && asked && faulty {
		there = d.between(5*time.Second, 25*time.Second)
	}
	switch {
	case asked && hit(p.loseRequest) || !asked && hit(p.loseRequest/4):
		w.note(x.p, "net: request lost", "%s of %s is lost on the way", x.kind, w.name(x.refresh))
		if d.chance(0.5) {
			sleep(context.Background(), d.between(0, 5*time.Second))
			c.answer(nil, errReset)
		}
		return
	case asked && hit(p.landLate):
		there = d.between(20*time.Second, 150*time.Second)
		w.note(x.p, "net: request lands late", "%s of %s takes %s", x.kind, w.name(x.refresh), there)
	case hit(p.slow):
		// The protocol presumes that a request lands within a lease or never.
		there = d.between(time.Second, 40*time.Second)
		w.note(x.p, "net: request slow", "%s of %s takes %s", x.kind, w.name(x.refresh), there)
	}
	time.Sleep(there)

	if hit(p.refuseRequest) {
		w.note(x.p, "net: 503 before", "%s of %s is answered 503 unprocessed", x.kind, w.name(x.refresh))
		status, code := pick(d, 503, 502, 429, 500, 401), "temporarily_unavailable"
		if status == 401 { // somebody has deployed the wrong secret
			code = "invalid_client"
		}
		header := http.Header{}
		if d.chance(0.4) {
			header.Set("Retry-After", strconv.Itoa(1+d.n(40)))
		}
		c.answer(response(status, header, []byte(`{"error":"`+code+`"}`)), io.EOF)
		return
	}

	rec := x.serve()
	header, body := rec.Result().Header, rec.Body.Bytes()
	switch {
	case asked && rec.Code == http.StatusOK && hit(p.odd):
		body = x.spoil(header, body)
	case x.kind == "look" && hit(p.lie) && w.mayLie(x):
		w.note(x.p, "net: lie", "token-metadata calls a live token inactive")
		body = []byte(`{"active":false}`)
		x.lie = true
	}
	answer := response(rec.Code, header, body)
	back := d.between(2*time.Millisecond, 120*time.Millisecond)
	switch {
	case asked && hit(p.loseAnswer) || !asked && hit(p.loseAnswer/4):
		how := pick(d, "reset", "silence", "502", "truncated")
		x.harm()
		w.note(x.p, "net: answer lost, "+how, "the answer to %s of %s is lost: %s", x.kind, w.name(x.refresh), how)
		time.Sleep(back)
		switch how {
		case "reset":
			c.answer(nil, errReset)
		case "502":
			c.answer(response(502, http.Header{"Content-Type": {"text/html"}}, []byte("<h1>Bad Gateway</h1>")), io.EOF)
		case "truncated":
			c.answer(answer[:len(answer)-1-d.n(len(body))], io.ErrUnexpectedEOF)
		}
		return
	case hit(p.slow):
		back = d.between(time.Second, 35*time.Second)
		w.note(x.p, "net: answer slow", "the answer to %s of %s takes %s", x.kind, w.name(x.refresh), back)
	}
	time.Sleep(back)
	c.answer(answer, io.EOF)
}

func (x *exchange) harm() {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	x.harmed = true
}

var (
	expiresIn = regexp.MustCompile(`"expires_in":\d+`)
	tokenType = regexp.MustCompile(`"token_type":"Bearer",`)
)

// spoil makes an answer odd without touching its tokens.
func (x *exchange) spoil(header http.Header, body []byte) []byte {
	how := pick(x.dice, "expires_in -1", "expires_in soon", "expires_in 0", "expires_in missing", "no token_type", "text/html", "more after it")
	x.w.note(x.p, "net: odd answer", "the answer to %s is odd: %s", x.kind, how)
	x.w.mu.Lock()
	if x.issued != nil && strings.HasPrefix(how, "expires_in") {
		x.issued.odd = true
	}
	x.w.mu.Unlock()
	switch how {
	case "expires_in -1":
		return expiresIn.ReplaceAll(body, []byte(`"expires_in":-1`))
	case "expires_in soon":
		return expiresIn.ReplaceAll(body, []byte(`"expires_in":"soon"`))
	case "expires_in 0":
		return expiresIn.ReplaceAll(body, []byte(`"expires_in":0`))
	case "expires_in missing":
		return expiresIn.ReplaceAll(body, []byte(`"expires":1`))
	case "no token_type":
		return tokenType.ReplaceAll(body, nil)
	case "text/html":
		header.Set("Content-Type", "text/html")
		return body
	}
	return append(bytes.Clone(body), "<!-- proxy -->"...)
}

// mayLie reports whether token-metadata may call the token of x inactive: not
// twice in a row, which is more than the protocol promises to survive.
func (w *world) mayLie(x *exchange) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lies[x.look] || time.Since(w.lied) < 3*time.Minute || w.access[x.look.token] == nil || time.Since(w.access[x.look.token].last().sent) < 10*time.Second {
		return false
	}
	w.lies[x.look], w.lied = true, time.Now()
	return true
}

// serve lets the server have the request.
func (x *exchange) serve() *httptest.ResponseRecorder {
	r := x.request.Clone(context.Background())
	r.Body = io.NopCloser(bytes.NewReader(x.body))
	r.Header.Set("Sim-Exchange", strconv.Itoa(x.register()))
	rec := httptest.NewRecorder()
	x.w.srv.ServeHTTP(rec, r)
	return rec
}

func (x *exchange) register() int {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	x.w.inHand = append(x.w.inHand, x)
	return len(x.w.inHand) - 1
}

// observe is called by the server for every request at its token endpoint.
func (w *world) observe(m *mxmtest.Exchange) {
	n, err := strconv.Atoi(m.Request.Header.Get("Sim-Exchange"))
	if err != nil {
		return
	}
	w.mu.Lock()
	x := w.inHand[n]
	w.mu.Unlock()
	m.Sleep(x.dice.between(5*time.Millisecond, 400*time.Millisecond))
	m.Commit()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.committed(x, m)
}

func response(status int, header http.Header, body []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
	header = header.Clone()
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Connection", "close")
	header.Write(&b)
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}
