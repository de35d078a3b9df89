package mxmtest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Fault is something that goes wrong with one request. The functions below return
// the common faults. Write others as functions on an [Exchange].
type Fault func(*Exchange)

// When selects the requests of a fault. Without any, that is the next request.
type When func(*rule)

type rule struct {
	endpoint Endpoint
	fault    Fault
	left     int
	always   bool
	match    []func(Request) bool
}

// Fail makes the next request to an endpoint go wrong, or the requests that the
// conditions select. Faults wait in the order of the calls to Fail. A request
// takes the first fault that selects it, and then every one with Always.
//
//	srv.Fail(mxmtest.Token, mxmtest.DropResponse)
//	srv.Fail(mxmtest.Token, mxmtest.Status(503, "", time.Minute), mxmtest.Times(3), mxmtest.Grant("refresh_token"))
//	srv.Fail(mxmtest.Token, mxmtest.SetField("expires_in", `"3600"`), mxmtest.Always())
func (s *Server) Fail(endpoint Endpoint, fault Fault, when ...When) {
	r := &rule{endpoint: endpoint, fault: fault, left: 1}
	for _, w := range when {
		w(r)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = append(s.rules, r)
}

// ClearFaults removes all faults that still wait.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = nil
}

// Times applies a fault to n requests.
func Times(n int) When { return func(r *rule) { r.left = n } }

// Always applies a fault to every request until [Server.ClearFaults].
func Always() When { return func(r *rule) { r.always = true } }

// Grant limits a fault to token requests of one grant type.
func Grant(grantType string) When {
	return If(func(r Request) bool { return r.GrantType == grantType })
}

// If limits a fault to requests for which match returns true. match gets the
// request as it arrived, and must not call the Server.
func If(match func(Request) bool) When {
	return func(r *rule) { r.match = append(r.match, match) }
}

// takeFaults returns what happens to a request.
func (s *Server) takeFaults(r *Request) (faults []Fault) {
	var always []Fault
	s.rules = slices.DeleteFunc(s.rules, func(u *rule) bool {
		if u.endpoint != r.Endpoint || slices.ContainsFunc(u.match, func(m func(Request) bool) bool { return !m(*r) }) {
			return false
		}
		if u.always {
			always = append(always, u.fault)
			return false
		}
		if len(faults) > 0 || u.left <= 0 {
			return false
		}
		faults = append(faults, u.fault)
		u.left--
		return u.left == 0
	})
	return append(faults, always...)
}

// DropRequest cuts the connection; the request is never processed.
func DropRequest(x *Exchange) { x.Cut() }

// DropResponse processes the request, then cuts the connection before a byte of
// the answer. Tokens are rotated, and nobody has the new ones.
func DropResponse(x *Exchange) {
	x.Commit()
	x.Cut()
}

// SlowRequest waits for d before the request is processed. It is processed even
// if the client has given up by then.
func SlowRequest(d time.Duration) Fault {
	return func(x *Exchange) { x.Sleep(d) }
}

// SlowResponse processes the request and waits for d before it answers.
func SlowResponse(d time.Duration) Fault { return AfterCommit(SlowRequest(d)) }

// Hold waits until the channel is ready or closed before the request is
// processed, so that the test decides when. AfterCommit(Hold(c)) holds the answer.
func Hold(until <-chan struct{}) Fault {
	return func(x *Exchange) { x.Wait(until) }
}

// AfterCommit processes the request before the fault happens. With [Status] it
// acts like a proxy that loses a good answer and sends a 502.
func AfterCommit(f Fault) Fault {
	return func(x *Exchange) {
		x.Commit()
		f(x)
	}
}

// Chain applies several faults to one request, in this order.
func Chain(faults ...Fault) Fault {
	return func(x *Exchange) {
		for _, f := range faults {
			f(x)
		}
	}
}

// Status answers with a status and a JSON body without processing the request.
// A retryAfter above zero becomes a Retry-After header, in whole seconds.
func Status(status int, body string, retryAfter time.Duration) Fault {
	return func(x *Exchange) {
		x.Answer(status, "application/json", []byte(body))
		if retryAfter > 0 {
			x.Response.Header.Set("Retry-After", strconv.Itoa(int(retryAfter/time.Second)))
		}
	}
}

// HTML answers with a page, as a proxy or a captive portal does, without
// processing the request.
func HTML(status int) Fault {
	return func(x *Exchange) {
		x.Answer(status, "text/html; charset=utf-8", []byte("<!DOCTYPE html><title>Proxy</title><h1>This is not what you asked for</h1>\n"))
	}
}

// Redirect answers with a redirect to url, such as 307, without processing the
// request.
func Redirect(status int, url string) Fault {
	return func(x *Exchange) {
		x.Answer(status, "text/plain", nil)
		x.Response.Header.Set("Location", url)
	}
}

// Truncated processes the request and cuts the connection in the middle of the
// refresh token, or of the body if there is none.
func Truncated(x *Exchange) {
	x.Commit()
	body, from := x.Response.Body, 0
	end := len(body)
	const name = `"refresh_token":"`
	if i := bytes.Index(body, []byte(name)); i >= 0 {
		from = i + len(name)
		end = from + bytes.IndexByte(body[from:], '"')
	}
	x.CutAt((from + end) / 2)
}

// Rewrite processes the request and replaces the body with what change returns.
// change may edit the header, too.
func Rewrite(change func(body []byte, header http.Header) []byte) Fault {
	return func(x *Exchange) {
		x.Commit()
		x.Response.Body = change(x.Response.Body, x.Response.Header)
	}
}

// Huge adds a member of n bytes to the end of a JSON object.
func Huge(n int) Fault {
	return edit(func(o []member) []member {
		return append(o, member{"padding", `"` + string(bytes.Repeat([]byte{'x'}, n)) + `"`})
	})
}

// SetField sets or adds a member of a successful answer. The value is JSON:
// SetField("expires_in", `"3600"`).
func SetField(name, raw string) Fault {
	return edit(func(o []member) []member {
		i := slices.IndexFunc(o, func(m member) bool { return m.name == name })
		if i < 0 {
			return append(o, member{name, raw})
		}
		o[i].raw = raw
		return o
	})
}

// DropField removes a member from a successful answer.
func DropField(name string) Fault {
	return edit(func(o []member) []member {
		return slices.DeleteFunc(o, func(m member) bool { return m.name == name })
	})
}

// DuplicateField adds a second member of the same name to the end of a
// successful answer.
func DuplicateField(name, raw string) Fault {
	return edit(func(o []member) []member { return append(o, member{name, raw}) })
}

// Trailing adds bytes after the JSON of a successful answer.
func Trailing(data string) Fault {
	return Rewrite(func(body []byte, _ http.Header) []byte { return append(body, data...) })
}

// ContentType replaces the Content-Type of the answer.
func ContentType(value string) Fault {
	return Rewrite(func(body []byte, h http.Header) []byte {
		h.Set("Content-Type", value)
		return body
	})
}

// member is one name and its raw value in a JSON object, which may be raw enough
// not to be JSON.
type member struct{ name, raw string }

// edit processes the request and, if it succeeded with a JSON object, changes
// the object's members, which keep their order.
func edit(change func([]member) []member) Fault {
	return func(x *Exchange) {
		x.Commit()
		d := json.NewDecoder(bytes.NewReader(x.Response.Body))
		if t, err := d.Token(); x.Response.Status != http.StatusOK || err != nil || t != json.Delim('{') {
			return
		}
		var object []member
		for d.More() {
			name, _ := d.Token()
			var raw json.RawMessage
			if d.Decode(&raw) != nil {
				return
			}
			object = append(object, member{name.(string), string(raw)})
		}
		var body bytes.Buffer
		for i, m := range change(object) {
			body.WriteByte("{,"[min(i, 1)])
			body.WriteString(strconv.Quote(m.name))
			body.WriteByte(':')
			body.WriteString(m.raw)
		}
		if body.Len() == 0 {
			body.WriteByte('{')
		}
		body.WriteByte('}')
		x.Response.Body = body.Bytes()
	}
}
