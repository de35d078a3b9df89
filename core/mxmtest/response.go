package mxmtest

import (
	"encoding/json"
	"net/http"
)

// Response is an answer that is decided and not yet sent.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// jsonResponse carries the headers of RFC 6749 5.1.
func jsonResponse(status int, v any) Response {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return Response{status, http.Header{
		"Content-Type":  {"application/json"},
		"Cache-Control": {"no-store"},
		"Pragma":        {"no-cache"},
	}, body}
}

// refuse returns an error response (RFC 6749 5.2), and records the code as the
// request's outcome.
func refuse(r *Request, status int, code, description string) Response {
	r.Outcome = code
	return jsonResponse(status, struct {
		Error       string `json:"error"`
		Description string `json:"error_description,omitempty"`
	}{code, description})
}

// wrongMethod is 405 with the Allow header that RFC 9110 15.5.6 requires.
func wrongMethod(r *Request, allow string) Response {
	a := refuse(r, http.StatusMethodNotAllowed, "method_not_allowed", "use "+allow)
	a.Header.Set("Allow", allow)
	return a
}
