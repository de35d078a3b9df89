package core

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

// answer is a response as it arrived.
type answer struct {
	status     int
	isJSON     bool
	body       []byte
	problem    error // the body is cut short or too long
	retryAfter time.Duration
	date       time.Time
	dated      bool
}

func (a *answer) refusal(what string) error {
	e := &callError{What: what, Sent: true, Status: a.status, RetryAfter: a.retryAfter}
	if fields, ok := topLevel(a.body); ok {
		if code, _ := stringField(fields["error"]); slices.Contains(knownErrorCodes, code) {
			e.Code = code
		}
	}
	return e
}

// tokens is what a successful answer of the token endpoint holds.
type tokens struct {
	Access, Refresh, Scope string
	ExpiresIn              time.Duration
	Issued                 time.Time // by the server's clock where it said it, else by ours
	Dated                  bool      // the server said when it issued the access token, and for how long
	Status                 int       // of the answer: a success
	Whole                  bool      // the answer arrived complete and was one JSON object

	// Defect is what is wrong with an answer of which the tokens were saved
	// all the same, or nil.
	Defect error
}

// parseTokens takes the tokens out of body however odd the rest is, then says
// in Defect what RFC 6749 section 5.1 would have had otherwise.
func parseTokens(body []byte) *tokens {
	fields, whole := topLevel(body)
	t := &tokens{Whole: whole}
	defect := func(text string) {
		if t.Defect == nil {
			t.Defect = errors.New(text)
		}
	}
	if !whole {
		defect("the answer is not one JSON object")
	}
	t.Refresh, _ = stringField(fields["refresh_token"])
	if raw, ok := fields["refresh_token"]; ok && string(raw) != "null" && !validToken(t.Refresh) {
		defect("refresh_token is not a token")
		t.Whole = t.Whole && t.Refresh != "" // it is there, and unreadable: not the same as none
	}
	t.Access, _ = stringField(fields["access_token"])
	if !validToken(t.Access) {
		t.Access = ""
		defect("access_token is not a token")
	}
	if tokenType, _ := stringField(fields["token_type"]); !strings.EqualFold(tokenType, "bearer") {
		defect("token_type is not Bearer")
	}
	t.Scope, _ = stringField(fields["scope"])
	t.ExpiresIn, t.Dated = parseExpiresIn(fields["expires_in"])
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
	if json.Unmarshal(body, &fields) == nil && fields != nil { // null leaves it nil
		return fields, true
	}
	// Member by member costs several times as much, but saves what can be read.
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

func stringField(raw json.RawMessage) (string, bool) {
	var s string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return s, true
}

// validToken accepts visible ASCII (RFC 6749 appendix A.12, without the space).
func validToken(s string) bool {
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
	return len(s) <= maxSubjectSize && validToken(s)
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
