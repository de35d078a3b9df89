package demo

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/examples/internal/page"
)

// pagePatience is how long the page waits for Musixmatch. It is useful without it.
const pagePatience = 3 * time.Second

//go:embed page.html
var pageSource string

var home = page.Parse(pageSource)

type pageView struct {
	UserID   string
	Unknown  bool // nobody can say who is signed in
	LoginURL string
	BasePath string
	Offline  bool
	HasAPI   bool
	API      check
	Verify   check
	Sessions []core.SessionInfo
}

// check is a call to Musixmatch as the page shows it.
type check struct {
	OK   bool
	Code string // the error code if it failed
	Text string
}

// Reconnect reports whether a call says that the grant is lost.
func (v pageView) Reconnect() bool {
	return v.API.Code == core.ErrReconnect.Code || v.Verify.Code == core.ErrReconnect.Code
}

// Home answers with the page. While the session cannot be read it does not offer
// the sign-in, which would not help.
func (d *Demo) Home(w http.ResponseWriter, r *http.Request, _ string) error {
	userID, err := d.Auth.User(r.Context())
	view := pageView{
		UserID: userID, Unknown: err != nil, LoginURL: d.Auth.LoginURL(""), BasePath: basePath,
		Offline: d.offline, HasAPI: d.apiURL != "",
	}
	if userID != "" {
		var err error
		if view.Sessions, err = d.Auth.Sessions(r.Context(), userID); err != nil {
			return err
		}
		d.ask(r.Context(), &view)
	}
	if view.Unknown {
		w.Header().Set("Retry-After", "5")
		return page.Write(w, http.StatusServiceUnavailable, home, view)
	}
	return page.Write(w, http.StatusOK, home, view)
}

// ask makes the calls that /whoami and /verify make.
func (d *Demo) ask(ctx context.Context, view *pageView) {
	ctx, cancel := context.WithTimeout(ctx, pagePatience)
	defer cancel()
	if view.HasAPI {
		var who struct{ Sub string }
		answer, err := d.whoAmI(ctx, view.UserID)
		if err == nil && json.Unmarshal(answer, &who) != nil {
			err = core.ErrUpstream
		}
		view.API = checked(err, "The API knows the user as "+who.Sub+".")
	}
	view.Verify = checked(d.Auth.Verify(ctx, view.UserID), "Musixmatch confirms the connection.")
}

func checked(err error, good string) check {
	var typed *core.Error
	switch {
	case err == nil:
		return check{OK: true, Text: good}
	case errors.As(err, &typed):
		return check{Code: typed.Code, Text: sentence(typed.Code)}
	}
	return check{Code: "unavailable", Text: sentence("unavailable")}
}

func sentence(code string) string {
	switch code {
	case "reconnect":
		return "The connection to Musixmatch has ended."
	case "upstream":
		return "The answer cannot be used."
	case "unavailable":
		return "There is no answer at the moment. Nothing is lost; reload the page in a few seconds."
	}
	return "Something went wrong."
}
