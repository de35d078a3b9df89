package main

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/mxmconnect/mxmconnect/core"
)

// accounts stands for the application's database. In one with tables, the link
// is a column that is unique, and link is one UPDATE.
type accounts struct {
	mu    sync.Mutex
	links map[string]string // account → Musixmatch user ID
}

var names = []string{"alice", "bob"}

func newAccounts() *accounts { return &accounts{links: map[string]string{}} }

func (a *accounts) exists(account string) bool { return slices.Contains(names, account) }

// linked is core.Config.LinkedUser.
func (a *accounts) linked(_ context.Context, account string) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.links[account], nil
}

// link is core.Config.OnLogin. It may run twice for one login, and it decides
// what happens when the Musixmatch account is somebody else's already: never a
// silent move from one account to the other.
func (a *accounts) link(account, userID string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for other, id := range a.links {
		if id == userID && other != account {
			return fmt.Errorf("%w: it is connected to another account", core.ErrLoginRefused)
		}
	}
	if id := a.links[account]; id != "" && id != userID {
		return fmt.Errorf("%w: the account is connected to another one, disconnect that first", core.ErrLoginRefused)
	}
	a.links[account] = userID
	return nil
}

func (a *accounts) unlink(account string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.links, account)
}
