//go:build unix

package main

import (
	"context"
	"errors"

	"github.com/mxmconnect/mxmconnect/core"
)

// lastWrite is a mutant: who writes last wins, as in most session stores.
const lastWrite = "lastwrite"

type lastWriteWins struct{ core.GrantStore }

func (s lastWriteWins) CommitGrant(ctx context.Context, key, _ string, r core.Record) error {
	for {
		stored, _, err := s.FindGrant(ctx, key)
		if err != nil {
			return err
		}
		if err := s.GrantStore.CommitGrant(ctx, key, stored.Version, r); !errors.Is(err, core.ErrConflict) {
			return err
		}
	}
}
