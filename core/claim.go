package core

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/seal"
)

const (
	claimLife        = flowLife + time.Hour // longer than any clocks differ on when the flow ends
	refusedClaimLife = time.Minute
)

// claim is the record that makes a callback the one that exchanges the code.
type claim struct{ key, version string }

// claimCallback claims the callback with a state. Of any number of identical
// callbacks, on any number of instances, exactly one creates the record; the
// others get nil. If the store's answer is lost, it reads back and compares
// versions.
func (a *Auth) claimCallback(ctx context.Context, state string) (*claim, error) {
	hash := sha256.Sum256([]byte("claim\x00" + state))
	c := claim{key: "claim_" + base64.RawURLEncoding.EncodeToString(hash[:]), version: seal.RandomString()}
	err := a.cfg.Grants.CommitGrant(ctx, c.key, "", Record{Version: c.version, Expiry: time.Now().Add(claimLife)})
	if err == nil {
		return &c, nil
	}
	stored, found, findErr := a.cfg.Grants.FindGrant(ctx, c.key)
	switch {
	case findErr != nil || !found:
		return nil, err
	case stored.Version != c.version:
		return nil, nil
	}
	return &c, nil
}

// endSoon shortens the life of a claim whose code Musixmatch has refused: there is
// nothing that a second callback could spend. Anybody can make such claims, so
// they must not fill the store. If this write fails, the claim ends later.
func (a *Auth) endSoon(ctx context.Context, c *claim) {
	_ = a.cfg.Grants.CommitGrant(ctx, c.key, c.version, Record{Version: seal.RandomString(), Expiry: time.Now().Add(refusedClaimLife)})
}
