package core

import (
	"context"

	"github.com/mxmconnect/mxmconnect/core/internal/grant"
	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
)

// server makes the client of Musixmatch a grant.Server.
type server struct{ *musixmatch.Client }

func (s server) Connect(ctx context.Context, refreshToken string) (grant.Conn, error) {
	conn, err := s.Client.Connect(ctx, refreshToken)
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// grantStore makes a [GrantStore] a grant.Store.
type grantStore struct{ GrantStore }

func (s grantStore) FindGrant(ctx context.Context, key string) (grant.Record, bool, error) {
	r, found, err := s.GrantStore.FindGrant(ctx, key)
	return grant.Record(r), found, err
}

func (s grantStore) CommitGrant(ctx context.Context, key, old string, r grant.Record) error {
	return s.GrantStore.CommitGrant(ctx, key, old, Record(r))
}
