package grant

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/recovery"
	"github.com/mxmconnect/mxmconnect/core/internal/seal"
)

// tombstoneLife is how long a disconnected grant stays known as such: longer
// than any refresh or login that was under way can still try to write.
const tombstoneLife = 24 * time.Hour

// markLife is how long a lost grant stays known as such. It keeps its tokens for
// markTokens: no answer that could need them comes later.
const (
	markLife   = 90 * 24 * time.Hour
	markTokens = 24 * time.Hour
)

type status string

const (
	statusLive         status = "live"
	statusReconnect    status = "reconnect"    // lost; a new login heals it
	statusDisconnected status = "disconnected" // tombstone: no tokens
)

// grant is the plain content of a grant's record: the tokens of one user.
type grant struct {
	BaseURL  string `json:"base_url"`
	ClientID string `json:"client_id"`
	Sub      string `json:"sub"`

	// Gen counts every change of tokens at this key and never restarts, not
	// even at a login, so that no process mistakes an old record for a new one.
	Generation int64  `json:"gen"`
	GrantID    string `json:"grant_id"` // new at each login

	Access      string        `json:"access,omitempty"`
	Refresh     string        `json:"refresh,omitempty"`
	Scope       string        `json:"scope,omitempty"`
	Issued      time.Time     `json:"issued"`          // by the server's clock where it said it, else by ours
	ExpiryKnown bool          `json:"dated,omitempty"` // the server said when it issued Access and for how long: its natural end is known
	ExpiresIn   time.Duration `json:"expires_in"`

	Status     status `json:"status"`
	Reason     string `json:"reason,omitempty"`    // of a reconnect
	NotRotated bool   `json:"unrotated,omitempty"` // the last refresh returned no refresh token

	Intent *intent `json:"intent,omitempty"`
	// MaxLease is the longest lease that an intent at this key ever had. A store
	// may lose the intent and keep this.
	MaxLease time.Duration `json:"max_lease,omitempty"`

	MovedTo string `json:"moved_to,omitempty"` // the user of an import; see import.go

	Connected time.Time `json:"connected,omitzero"` // the login, by the clock of Issued
	Used      time.Time `json:"used,omitzero"`      // the last refresh that a caller needed, by the same
	Since     time.Time `json:"since,omitzero"`     // when Status became what it is

	Acknowledged loss   `json:"acknowledged,omitzero"` // see status.go
	Unknown      string `json:"-"`                     // the members that this version does not know; see codec.go
}

// same reports whether other is the same write of the same grant, sealed again. Of
// a mark that cannot be said: two instances may write the same one.
func (gr grant) same(other grant) bool {
	id := func(in *intent) string {
		if in == nil {
			return ""
		}
		return in.ID
	}
	return gr.Status != statusReconnect && gr.Status == other.Status && gr.GrantID == other.GrantID && gr.Generation == other.Generation &&
		gr.Access == other.Access && gr.Refresh == other.Refresh && id(gr.Intent) == id(other.Intent)
}

// records seals and opens the records of one client at one authorization server.
type records struct {
	store    Store
	lister   Lister // or nil
	keys     seal.Keyring
	baseURL  string
	clientID string
}

const (
	grantPurpose = "grant"
	keyPrefix    = "grant_"
)

// key is where a user's grant is kept. It tells a reader of the store nothing.
func (g *records) key(sub string) string {
	h := sha256.New()
	for _, part := range []string{g.baseURL, g.clientID, sub} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return keyPrefix + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// find returns the user's grant and its version; found is false if there is
// none. A record that no key opens, or that belongs to somebody else, is an
// error and stays as it is: a wrong key in a deployment must not cost a grant.
func (g *records) find(ctx context.Context, sub string) (gr grant, version string, found bool, err error) {
	key := g.key(sub)
	rec, found, err := g.load(ctx, key)
	if err != nil || !found {
		return grant{}, "", false, err
	}
	gr, err = g.open(sub, key, rec)
	return gr, rec.Version, true, err
}

var (
	errElsewhere = errors.New("the record belongs to another client, or to another authorization server")
	errMisplaced = errors.New("the record belongs to another grant")
)

// open reads what is in rec, which was found at key.
func (g *records) open(sub, key string, rec Record) (gr grant, err error) {
	gr, err = g.openAny(key, rec)
	if err != nil {
		return grant{}, err
	}
	if gr.Sub != sub {
		return grant{}, errMisplaced
	}
	gr.Sub = sub // one copy in memory
	return gr, nil
}

// openAny reads what is in rec, whosesoever grant it is.
func (g *records) openAny(key string, rec Record) (gr grant, err error) {
	plain, err := g.keys.Open(grantPurpose, key, rec.Data)
	if err != nil {
		return grant{}, err
	}
	if gr, err = decode(plain); err != nil {
		return grant{}, err
	}
	switch {
	case gr.BaseURL != g.baseURL || gr.ClientID != g.clientID:
		return grant{}, errElsewhere
	case g.key(gr.Sub) != key:
		return grant{}, errMisplaced
	}
	gr.BaseURL, gr.ClientID = g.baseURL, g.clientID // one copy of each in memory
	return gr, nil
}

// commit stores gr over the version old and returns the version it wrote.
// The version is returned with every error too, so that a writer who got no
// answer can recognise its own write.
func (g *records) commit(ctx context.Context, old string, gr grant) (version string, err error) {
	gr.BaseURL, gr.ClientID = g.baseURL, g.clientID
	if gr.Status == statusReconnect && time.Since(gr.Since) >= markTokens {
		gr.Access, gr.Refresh = "", ""
	}
	plain, err := gr.encode()
	if err != nil {
		return "", err
	}
	key := g.key(gr.Sub)
	rec := Record{Data: g.keys.Seal(grantPurpose, key, plain), Version: seal.RandomString()}
	switch {
	case isImport(gr.Sub): // no login replaces it
		rec.Expiry = time.Now().Add(importedLife)
	case gr.Status == statusDisconnected:
		rec.Expiry = time.Now().Add(tombstoneLife)
	case gr.Status == statusReconnect:
		rec.Expiry = gr.Since.Add(markLife) // however often it is written
	}
	return rec.Version, g.save(ctx, key, old, rec)
}

func (g *records) load(ctx context.Context, key string) (rec Record, found bool, err error) {
	defer recovery.Catch(&err)
	return g.store.FindGrant(ctx, key)
}

func (g *records) save(ctx context.Context, key, old string, rec Record) (err error) {
	defer recovery.Catch(&err)
	return g.store.CommitGrant(ctx, key, old, rec)
}
