package main

import (
	"context"
	"net/http"
	"slices"
	"sync"

	"github.com/mxmconnect/mxmconnect/core"
)

// accounts stands for the application's database. In SQL the Musixmatch user ID is
// a unique column, and link is one UPDATE.
type accounts struct {
	mu    sync.Mutex
	links map[string]string // account → Musixmatch user ID
}

// The conflicts. They refuse the login, and contain the text that the page shows
// instead of core's.
var (
	errTaken = &core.Error{Code: "already_connected", Status: http.StatusConflict, Err: core.ErrLoginRefused,
		Description: "This Musixmatch account is connected to another account here. Disconnect it there first."}
	errOther = &core.Error{Code: "already_connected", Status: http.StatusConflict, Err: core.ErrLoginRefused,
		Description: "Your account is connected to another Musixmatch account. Disconnect that first."}
)

var names = []string{"alice", "bob"}

func newAccounts() *accounts { return &accounts{links: map[string]string{}} }

func (a *accounts) exists(account string) bool { return slices.Contains(names, account) }

// linked is core.Config.LinkedUser.
func (a *accounts) linked(_ context.Context, account string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.links[account], nil
}

// link is core.Config.OnLogin. It may run twice for one login. It refuses a
// Musixmatch account that belongs to somebody else, and never moves it silently.
func (a *accounts) link(account, userID string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for other, id := range a.links {
		if id == userID && other != account {
			return errTaken
		}
	}
	if id := a.links[account]; id != "" && id != userID {
		return errOther
	}
	a.links[account] = userID
	return nil
}

// unlink is core.Config.OnDisconnect. It may run again for the same link.
func (a *accounts) unlink(account, userID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.links[account] == userID {
		delete(a.links, account)
	}
}

// of returns the account that is linked to a Musixmatch account, or "".
func (a *accounts) of(userID string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	for account, id := range a.links {
		if id == userID {
			return account
		}
	}
	return ""
}
