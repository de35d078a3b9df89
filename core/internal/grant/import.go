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

// Import takes over a user whose refresh token was kept by other code, which
// must not use it any more. It refreshes first, which proves that the token was
// issued to this client, asks whose the new tokens are, and stores them as a
// login of that user would be.
//
// Until the user is known the token is kept as a grant of its own, so nothing
// is lost on the way: after an error or a crash call Import again with the same
// token, on any instance, and it goes on where it was. A second import of the
// same token within 30 days returns the same user ID and changes nothing.
//
// [ErrReconnect] means that the token is not, or not any more, good for a
// refresh; [ErrUnavailable] to try again later. It waits as long as ctx, or 10
// seconds if ctx has no deadline; a lost answer takes minutes to resolve.
// Safe for concurrent use.
func (m *Manager) Import(ctx context.Context, refreshToken string) (userID string, err error) {
	if !musixmatch.ValidToken(refreshToken) {
		return "", &Failure{BadRequest, errBadToken}
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, Patience)
		defer cancel()
	}
	hash := sha256.Sum256([]byte("mxmconnect import\x00" + refreshToken))
	place := importPrefix + base64.RawURLEncoding.EncodeToString(hash[:])
	last := ""
	for n := 0; ctx.Err() == nil; n++ {
		gr, version, found, err := m.records.find(ctx, place)
		if n > 0 && version == last { // another instance is at it, or the store cannot be written
			select {
			case <-ctx.Done():
			case <-time.After(m.backoff(n)):
			}
		}
		last = version
		switch {
		case err != nil:
			return "", unavailable(err)
		case !found:
			now, _ := m.server.Now()
			gr = grant{
				Sub: place, GrantID: seal.RandomString(), Generation: 1, Status: statusLive,
				Refresh: refreshToken, Issued: now,
			}
			if err := m.commitSurely(ctx, "", gr); err != nil && !errors.Is(err, ErrConflict) {
				return "", unavailable(err)
			}
		case gr.Status == statusImported:
			return m.imported(ctx, gr)
		case gr.Status == statusMoving:
			if err := m.move(ctx, gr, version); err != nil {
				return "", err
			}
		case gr.Status != statusLive:
			return "", &Failure{Reconnect, errLost}
		default:
			// That the grant is no more is for the record to say: it may have moved.
			if err := m.advance(ctx, gr, version); err != nil && outcomeOf(err) != Reconnect {
				return "", err
			}
		}
	}
	return "", unavailable(ctx.Err())
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
