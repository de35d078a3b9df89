package grant

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
	"github.com/mxmconnect/mxmconnect/core/internal/seal"
)

// importedLife is how long a refresh token is known as imported: nobody may
// present it again.
const importedLife = 30 * 24 * time.Hour

const (
	statusMoving   status = "moving"   // an import whose user is known; its tokens go to that user's key
	statusImported status = "imported" // they are there
)

var (
	errBadToken  = errors.New("this is not a refresh token")
	errMovedAway = errors.New("the token was imported before, and the user's grant has ended since")
)

const importPrefix = "import " // no user ID holds a space

func isImport(sub string) bool { return strings.HasPrefix(sub, importPrefix) }

// Import takes over a user whose refresh token was kept by other code; see
// core.Auth.Import. Until the user is known the token is kept as a grant of its
// own, so nothing is lost on the way: a second call goes on where the first was.
func (m *Manager) Import(ctx context.Context, refreshToken string) (userID string, err error) {
	if !musixmatch.ValidToken(refreshToken) {
		return "", &Failure{BadRequest, errBadToken}
	}
	ctx, cancel := WithPatience(ctx)
	defer cancel()
	hash := sha256.Sum256([]byte("mxmconnect import\x00" + refreshToken))
	place := importPrefix + base64.RawURLEncoding.EncodeToString(hash[:])
	last := ""
	for n := 1; ctx.Err() == nil; n++ {
		userID, version, err := m.importStep(ctx, place, refreshToken)
		if userID != "" || err != nil {
			return userID, err
		}
		if n > 1 && version == last { // another instance is at it, or the store cannot be written
			select {
			case <-ctx.Done():
			case <-time.After(m.backoff(n)):
			}
		}
		last = version
	}
	return "", unavailable(ctx.Err())
}

// importStep brings an import one step further. It returns the user when that was
// the last one, and else the version of the record that it found.
func (m *Manager) importStep(ctx context.Context, place, refreshToken string) (userID, version string, err error) {
	gr, version, found, err := m.records.find(ctx, place)
	switch {
	case err != nil:
		return "", version, unavailable(err)
	case !found:
		now, _ := m.server.Now()
		gr = grant{
			Sub: place, GrantID: seal.RandomString(), Generation: 1, Status: statusLive,
			Refresh: refreshToken, Issued: now,
		}
		if err := m.commitSurely(ctx, "", gr); err != nil && !errors.Is(err, ErrConflict) {
			return "", version, unavailable(err)
		}
		return "", version, nil
	case gr.Status == statusImported:
		userID, err = m.imported(ctx, gr)
		return userID, version, err
	case gr.Status == statusMoving:
		return "", version, m.move(ctx, gr, version)
	case gr.Status != statusLive:
		return "", version, &Failure{Reconnect, errLost}
	}
	err = m.advance(ctx, gr, version)
	if err != nil && outcomeOf(err) == Reconnect {
		err = nil // that the grant is no more is for the record to say: it may have moved
	}
	return "", version, err
}

// advance brings an import to where its user is known. The record then says
// so, and from that moment its tokens are refreshed at the user's key only.
func (m *Manager) advance(ctx context.Context, gr grant, version string) error {
	if gr.Intent != nil || gr.Access == "" {
		return m.token(ctx, gr.Sub, "").err
	}
	in, err := m.introspect(ctx, gr.Access)
	switch {
	case err != nil:
		return unavailable(err)
	case !in.Active:
		return m.token(ctx, gr.Sub, gr.Access).err
	}
	gr.Status, gr.MovedTo = statusMoving, in.Sub
	if err := m.commitSurely(ctx, version, gr); err != nil && !errors.Is(err, ErrConflict) {
		return unavailable(err)
	}
	return nil
}

// move stores the tokens at the user's key. After a crash it may have been done
// already, and the user may have signed in or disconnected since: the tokens
// are stored only if they have not been and are alive.
func (m *Manager) move(ctx context.Context, gr grant, version string) error {
	stored, there, found, unopened := m.records.find(ctx, gr.MovedTo)
	if unopened != nil && !errors.Is(unopened, seal.ErrUnsealable) {
		return unavailable(unopened)
	}
	if !found || stored.GrantID != gr.GrantID {
		in, err := m.introspect(ctx, gr.Access)
		if err != nil {
			return unavailable(err)
		}
		if in.Active && in.Sub == gr.MovedTo {
			moved := gr
			date, _ := m.server.Now()
			moved.Connected, moved.Since = date, date
			if unopened != nil {
				date = date.Add(2 * tombstoneLead)
			}
			moved.Sub, moved.MovedTo, moved.Status = gr.MovedTo, "", statusLive
			// Not over anything newer than what was found: another instance may
			// have moved them meanwhile, and the user may have disconnected.
			if err := m.replaceGrant(ctx, there, stored, moved, date); err != nil {
				if errors.Is(err, ErrConflict) {
					return nil
				}
				return unavailable(err)
			}
		}
	}
	done := grant{Sub: gr.Sub, GrantID: gr.GrantID, Generation: gr.Generation + 1, Status: statusImported, MovedTo: gr.MovedTo, Issued: gr.Issued}
	if err := m.commitSurely(ctx, version, done); err != nil && !errors.Is(err, ErrConflict) {
		return unavailable(err)
	}
	m.learn(done, "")
	return nil
}

// imported answers for a token that was imported before.
func (m *Manager) imported(ctx context.Context, gr grant) (userID string, err error) {
	stored, _, found, err := m.records.find(ctx, gr.MovedTo)
	switch {
	case err != nil:
		return "", unavailable(err)
	case !found || stored.Status != statusLive:
		return "", &Failure{Reconnect, errMovedAway}
	}
	return gr.MovedTo, nil
}
