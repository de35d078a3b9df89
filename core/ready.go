package core

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/mxmconnect/mxmconnect/core/internal/grant"
	"github.com/mxmconnect/mxmconnect/core/internal/recovery"
	"github.com/mxmconnect/mxmconnect/core/internal/seal"
)

// readyLife is how long the records of [Auth.Ready] live if they are not removed.
const readyLife = 10 * time.Second

var errLost = errors.New("it does not return what was written")

// Ready writes a record to Config.Grants and one to the store of Config.Sessions,
// and reads them back. It returns nil if both stores keep what is written, and else
// an [ErrUnavailable] that names the field. It removes both; what a failure leaves
// expires within 10 seconds. It does not call Musixmatch. It waits as long as ctx,
// and 10 seconds at most. Safe for concurrent use.
//
// Call it once when a process starts, before it takes requests, or from a startupProbe
// of Kubernetes. Do not make it a readinessProbe: one outage of the store would take
// all instances away at once, while public pages and cached tokens still work.
func (a *Auth) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, grant.Patience)
	defer cancel()
	var errs []error
	if err := a.grantsReady(ctx); err != nil {
		errs = append(errs, fmt.Errorf("Config.Grants: %w", err))
	}
	if err := a.sessionsReady(ctx); err != nil {
		errs = append(errs, fmt.Errorf("Config.Sessions: %w", err))
	}
	if len(errs) > 0 {
		return fail("ready", ErrUnavailable, errors.Join(errs...))
	}
	return nil
}

func (a *Auth) grantsReady(ctx context.Context) (err error) {
	defer recovery.Catch(&err)
	key, r := "ready_"+seal.RandomString(), Record{Data: []byte("ready"), Version: seal.RandomString(), Expiry: time.Now().Add(readyLife)}
	if err := a.cfg.Grants.CommitGrant(ctx, key, "", r); err != nil {
		return err
	}
	found, ok, err := a.cfg.Grants.FindGrant(ctx, key)
	if err != nil {
		return err
	}
	if !ok || found.Version != r.Version || !bytes.Equal(found.Data, r.Data) {
		return errLost
	}
	gone := Record{Version: seal.RandomString(), Expiry: time.Now().Add(-readyLife)}
	return a.cfg.Grants.CommitGrant(ctx, key, r.Version, gone)
}

// sessionsReady lets its session expire: a deleted one leaves a tombstone for an hour.
func (a *Auth) sessionsReady(ctx context.Context) (err error) {
	defer recovery.Catch(&err)
	token, data := seal.RandomString(), []byte("ready")
	plain := a.cfg.Sessions.Store
	find, commit := func() ([]byte, bool, error) { return plain.Find(token) },
		func(expiry time.Time) error { return plain.Commit(token, data, expiry) }
	if store, ok := plain.(scs.CtxStore); ok {
		find = func() ([]byte, bool, error) { return store.FindCtx(ctx, token) }
		commit = func(expiry time.Time) error { return store.CommitCtx(ctx, token, data, expiry) }
	}
	if err := commit(time.Now().Add(readyLife)); err != nil {
		return err
	}
	found, ok, err := find()
	if err != nil {
		return err
	}
	if !ok || !bytes.Equal(found, data) {
		return errLost
	}
	return commit(time.Now().Add(-readyLife))
}
