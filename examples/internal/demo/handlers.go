package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
)

// Handler is a page of the app, without a framework. As core does, it writes on
// success, and returns an error before the first byte otherwise. userID is the
// signed-in user, or "".
type Handler func(w http.ResponseWriter, r *http.Request, userID string) error

// The outcomes of the app's own routes.
var (
	ErrNotFound = &core.Error{Code: "not_found", Description: "there is nothing at this address", Status: http.StatusNotFound}
	errNoAPI    = &core.Error{Op: "whoami", Code: "not_found", Description: "MXM_API_URL is not set", Status: http.StatusNotFound}
	errWait     = &core.Error{Op: "slow", Code: "bad_request", Description: "ms must be from 0 to 30000", Status: http.StatusBadRequest}
)

const (
	apiTimeout = 10 * time.Second
	maxAnswer  = 64 << 10
	maxForm    = 1 << 10
	maxWait    = 30_000
)

// Health answers load balancers. It is outside the session middleware and loads
// no session.
func (d *Demo) Health(w http.ResponseWriter, _ *http.Request, _ string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ok")
	return nil
}

// Me answers who is signed in.
func (d *Demo) Me(w http.ResponseWriter, _ *http.Request, userID string) error {
	return writeJSON(w, map[string]string{"user_id": userID})
}

// WhoAmI calls the API on behalf of the user.
func (d *Demo) WhoAmI(w http.ResponseWriter, r *http.Request, userID string) error {
	answer, err := d.whoAmI(r.Context(), userID)
	if err != nil {
		return err
	}
	return writeJSON(w, answer)
}

// Verify asks Musixmatch whether the user is still connected.
func (d *Demo) Verify(w http.ResponseWriter, r *http.Request, userID string) error {
	if err := d.Auth.Verify(r.Context(), userID); err != nil {
		return err
	}
	return writeJSON(w, map[string]bool{"active": true})
}

// Slow changes the session, waits, and answers as Me does. Its late save must not
// undo what happened meanwhile, such as a sign-out.
func (d *Demo) Slow(w http.ResponseWriter, r *http.Request, userID string) error {
	ms, err := strconv.ParseUint(r.URL.Query().Get("ms"), 10, 64)
	if err != nil || ms > maxWait {
		return errWait
	}
	d.sessions.Put(r.Context(), "slow", time.Now().UnixNano())
	select {
	case <-time.After(time.Duration(ms) * time.Millisecond):
	case <-r.Context().Done(): // nobody is waiting any more
	}
	return d.Me(w, r, userID)
}

// Sessions answers in which browsers the user is signed in.
func (d *Demo) Sessions(w http.ResponseWriter, r *http.Request, userID string) error {
	type session struct {
		ID       string    `json:"id"`
		SignedIn time.Time `json:"signed_in"`
		Until    time.Time `json:"until"`
		Browser  string    `json:"browser"`
		This     bool      `json:"this"`
	}
	infos, err := d.Auth.Sessions(r.Context(), userID)
	if err != nil {
		return err
	}
	sessions := make([]session, 0, len(infos))
	for _, s := range infos {
		sessions = append(sessions, session{s.ID, s.SignedIn, s.Until, s.Browser, s.Current})
	}
	return writeJSON(w, map[string][]session{"sessions": sessions})
}

// EndSessions signs the user out in one browser, or in all. It takes every
// method, and refuses all but POST.
func (d *Demo) EndSessions(w http.ResponseWriter, r *http.Request, userID string) error {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return core.ErrMethod
	}
	if d.origin.Check(r) != nil {
		return core.ErrCrossOrigin
	}
	if userID == "" {
		return d.Auth.Challenge(w, r)
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	var err error
	if r.FormValue("all") == "1" {
		_, err = d.Auth.SignOutEverywhere(r.Context(), userID)
	} else {
		err = d.Auth.EndSession(r.Context(), userID, r.FormValue("id"))
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
	return nil
}

// NotFound answers at every address that the app does not have.
func (d *Demo) NotFound(http.ResponseWriter, *http.Request, string) error { return ErrNotFound }

// WrongMethod answers at the app's addresses for every method but GET.
func (d *Demo) WrongMethod(w http.ResponseWriter, _ *http.Request, _ string) error {
	w.Header().Set("Allow", "GET, HEAD")
	return core.ErrMethod
}

func (d *Demo) whoAmI(ctx context.Context, userID string) (json.RawMessage, error) {
	if d.apiURL == "" {
		return nil, errNoAPI
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(d.apiURL, "/")+"/whoami", nil)
	if err != nil {
		return nil, err
	}
	res, err := d.Auth.Client(ctx, userID).Do(req)
	if err != nil {
		var typed *core.Error
		if errors.As(err, &typed) {
			return nil, err
		}
		return nil, outcome(core.ErrUnavailable, errors.New("the API does not answer"))
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, outcome(core.ErrUpstream, fmt.Errorf("the API answers with status %d", res.StatusCode))
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return nil, outcome(core.ErrUnavailable, errors.New("the API's answer broke off"))
	}
	if len(body) > maxAnswer || !json.Valid(body) {
		return nil, outcome(core.ErrUpstream, errors.New("the API's answer is not JSON"))
	}
	return body, nil
}

func outcome(sentinel *core.Error, cause error) error {
	e := *sentinel
	e.Op, e.Err = "whoami", cause
	return &e
}

func writeJSON(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	return json.NewEncoder(w).Encode(v)
}
