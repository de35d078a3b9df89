package musixmatch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// response is an answer of the server as it arrived.
type response struct {
	status  int
	header  http.Header
	isJSON  bool
	body    []byte
	problem error // the body is cut short or too long
	date    time.Time
	dated   bool
	took    time.Duration // from the first byte of the request to the end of the answer
}

// errorResponse is an answer that is not a success (RFC 6749 section 5.2).
func (r *response) errorResponse(what string) error {
	e := &CallError{What: what, Sent: true, Status: r.status, RetryAfter: parseRetryAfter(r.header.Get("Retry-After"))}
	if fields, ok := topLevel(r.body); ok {
		if code, _ := stringField(fields["error"]); slices.Contains(knownErrorCodes, code) {
			e.Code = code
		}
	}
	return e
}

// Tokens is a successful answer of the token endpoint (RFC 6749 section 5.1).
type Tokens struct {
	Access, Refresh, Scope string
	ExpiresIn              time.Duration
	// Issued is the earliest that the tokens can have been issued, by the
	// server's clock: Date less the time that the call took. Where the answer has
	// no Date it is our estimate of that clock.
	Issued time.Time
	Date   time.Time // when the server made the answer, by its own clock; zero: it did not say
	// ExpiryKnown says that the server said when it issued the access token, and
	// for how long.
	ExpiryKnown bool
	Status      int  // of the answer: a success
	Complete    bool // the answer arrived complete and was one JSON object

	// Defect is what is wrong with an answer of which the tokens were saved
	// all the same, or nil.
	Defect error
}

// tokens reads a token response. It returns what can be saved, however odd the
// rest is: a successful rotation must not be thrown away.
func (r *response) tokens(now time.Time) (*Tokens, error) {
	if r.status < 200 || r.status > 299 {
		return nil, r.errorResponse(tokenEndpoint)
	}
	t := parseTokens(r.body)
	t.Status = r.status
	if t.Defect == nil && r.status != http.StatusOK { // such as the 203 of a proxy
		t.Defect = errors.New("the status is not 200")
	}
	t.Issued, t.Date = now, r.date
	if r.dated {
		t.Issued = r.date.Add(-r.took)
	}
	t.ExpiryKnown = t.ExpiryKnown && r.dated
	t.Complete = t.Complete && r.problem == nil
	if t.Defect == nil && !r.isJSON {
		t.Defect = errors.New("the answer is not application/json")
	}
	if r.problem != nil {
		t.Defect = r.problem
	}
	if t.Access == "" && t.Refresh == "" {
		return nil, &CallError{What: tokenEndpoint, Sent: true, Status: t.Status, Cause: t.Defect}
	}
	return t, nil
}

// parseTokens takes the tokens out of body however odd the rest is, then says
// in Defect what RFC 6749 section 5.1 would have had otherwise.
func parseTokens(body []byte) *Tokens {
	fields, whole := topLevel(body)
	t := &Tokens{Complete: whole}
	defect := func(text string) {
		if t.Defect == nil {
			t.Defect = errors.New(text)
		}
	}
	if !whole {
		defect("the answer is not one JSON object")
	}
	t.Refresh, _ = stringField(fields["refresh_token"])
	// An empty one is none, as null is (RFC 6749 appendix A.17 asks for a character at least).
	if raw, ok := fields["refresh_token"]; ok && string(raw) != "null" && string(raw) != `""` && !ValidToken(t.Refresh) {
		defect("refresh_token is not a token")
		t.Complete = t.Complete && t.Refresh != "" // it is there, and unreadable: not the same as none
	}
	t.Access, _ = stringField(fields["access_token"])
	if !ValidToken(t.Access) {
		t.Access = ""
		defect("access_token is not a token")
	}
	if tokenType, _ := stringField(fields["token_type"]); !strings.EqualFold(tokenType, "bearer") {
		defect("token_type is not Bearer")
	}
	t.Scope, _ = stringField(fields["scope"])
	t.ExpiresIn, t.ExpiryKnown = parseExpiresIn(fields["expires_in"])
	return t
}

// parseExpiresIn reads seconds from a JSON number or a numeric string. What is
// missing or unreadable is five minutes, not "never", and not known; what is out of
// range is clamped.
func parseExpiresIn(raw json.RawMessage) (life time.Duration, known bool) {
	text := string(raw)
	if s, ok := stringField(raw); ok {
		text = strings.TrimSpace(s)
	}
	seconds, err := strconv.ParseFloat(text, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) && seconds > 0:
		return longestExpiresIn, true
	case err != nil || math.IsNaN(seconds):
		return missingExpiresIn, false
	case seconds <= 0:
		return 0, true
	case seconds > longestExpiresIn.Seconds():
		return longestExpiresIn, true
	}
	return time.Duration(seconds * float64(time.Second)), true
}

// topLevel returns the members of the JSON object that body begins with, as
// far as they are readable; whole says that body is that object and no more.
// Of a repeated member the last one counts.
func topLevel(body []byte) (fields map[string]json.RawMessage, whole bool) {
	if object := bytes.TrimLeft(body, jsonSpace); len(object) > 0 && object[0] == '{' && json.Valid(object) {
		return members(object), true
	}
	// Token by token costs several times as much, but saves what can be read.
	fields = map[string]json.RawMessage{}
	d := json.NewDecoder(bytes.NewReader(body))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return fields, false
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return fields, false
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return fields, false
		}
		fields[name.(string)] = value
	}
	if _, err := d.Token(); err != nil {
		return fields, false
	}
	_, err := d.Token()
	return fields, err == io.EOF
}

const jsonSpace = " \t\r\n"

// members returns the members of a valid JSON object, as they are written.
// Unmarshalling them into a map would be a tenth of the cost of a sign-in.
func members(object []byte) map[string]json.RawMessage {
	fields := make(map[string]json.RawMessage, 8)
	rest := bytes.TrimLeft(object[1:], jsonSpace)
	for rest[0] != '}' {
		var name, value []byte
		name, rest = cutValue(rest)
		value, rest = cutValue(bytes.TrimLeft(rest, ":"+jsonSpace))
		key, _ := stringField(name)
		fields[key] = value
		rest = bytes.TrimLeft(rest, ","+jsonSpace)
	}
	return fields
}

// cutValue cuts b, which is valid, behind the JSON value that it begins with, and
// the space that follows.
func cutValue(b []byte) (value, rest []byte) {
	depth, quoted, i := 0, false, 0
	for ended := false; !ended; i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
			ended = !quoted && depth == 0
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
			ended = depth == 0
		case depth == 0:
			next := b[i+1]
			ended = next == ',' || next == '}' || next == ':' || next <= ' '
		}
	}
	return b[:i], bytes.TrimLeft(b[i:], jsonSpace)
}

func stringField(raw json.RawMessage) (string, bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	if text := string(raw[1 : len(raw)-1]); plain(text) {
		return text, true
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return s, true
}

// plain reports whether a JSON string has the value that is written: nothing in
// it is escaped, as in most.
func plain(text string) bool {
	for i := 0; i < len(text); i++ {
		if c := text[i]; c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// ValidToken reports whether s is a token: it accepts visible ASCII (RFC 6749 appendix A.12, without the space).
func ValidToken(s string) bool {
	if s == "" || len(s) > maxTokenSize {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < 0x21 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

func validSubject(s string) bool {
	return len(s) <= maxSubjectSize && ValidToken(s)
}

func parseRetryAfter(v string) time.Duration {
	if v == "" {
		return 0
	}
	d := time.Duration(0)
	if seconds, err := strconv.Atoi(v); err == nil {
		d = time.Duration(min(seconds, int(maxRetryAfter.Seconds()))) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		d = time.Until(at)
	}
	return max(0, min(d, maxRetryAfter))
}
