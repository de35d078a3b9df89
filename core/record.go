package core

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"
)

// tombstoneLife is how long a disconnected grant stays known as such: longer
// than any refresh or login that was under way can still try to write.
const tombstoneLife = 24 * time.Hour

type grantStatus string

const (
	grantLive         grantStatus = "live"
	grantReconnect    grantStatus = "reconnect"    // lost; a new login heals it
	grantDisconnected grantStatus = "disconnected" // tombstone: no tokens
)

// grant is the plain content of a grant's record: the tokens of one user.
type grant struct {
	BaseURL  string `json:"base_url"`
	ClientID string `json:"client_id"`
	Sub      string `json:"sub"`

	// Gen counts every change of tokens at this key and never restarts, not
	// even at a login, so that no process mistakes an old record for a new one.
	Gen     int64  `json:"gen"`
	GrantID string `json:"grant_id"` // new at each login

	Access    string        `json:"access,omitempty"`
	Refresh   string        `json:"refresh,omitempty"`
	Scope     string        `json:"scope,omitempty"`
	Issued    time.Time     `json:"issued"`          // by the server's clock where it said it, else by ours
	Dated     bool          `json:"dated,omitempty"` // the server said when it issued Access and for how long: its natural end is known
	ExpiresIn time.Duration `json:"expires_in"`

	Status    grantStatus `json:"status"`
	Reason    string      `json:"reason,omitempty"`    // of a reconnect
	Unrotated bool        `json:"unrotated,omitempty"` // the last refresh returned no refresh token

	Intent *intent `json:"intent,omitempty"`

	MovedTo string `json:"moved_to,omitempty"` // the user of an import; see import.go
}

// grants seals and opens the records of one client at one authorization server.
type grants struct {
	store    GrantStore
	keys     keyring
	baseURL  string
	clientID string
}

const grantPurpose = "grant"

// key is where a user's grant is kept. It tells a reader of the store nothing.
func (g *grants) key(sub string) string {
	h := sha256.New()
	for _, part := range []string{g.baseURL, g.clientID, sub} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	return "grant_" + base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// find returns the user's grant and its version; found is false if there is
// none. A record that no key opens, or that belongs to somebody else, is an
// error and stays as it is: a wrong key in a deployment must not cost a grant.
func (g *grants) find(ctx context.Context, sub string) (gr grant, version string, found bool, err error) {
	key := g.key(sub)
	rec, found, err := g.load(ctx, key)
	if err != nil || !found {
		return grant{}, "", false, err
	}
	plain, err := g.keys.open(grantPurpose, key, rec.Data)
	if err != nil {
		return grant{}, rec.Version, true, err
	}
	if err := json.Unmarshal(plain, &gr); err != nil {
		return grant{}, rec.Version, true, errors.New("the record is not a grant")
	}
	if gr.BaseURL != g.baseURL || gr.ClientID != g.clientID || gr.Sub != sub {
		return grant{}, rec.Version, true, errors.New("the record belongs to another grant")
	}
	gr.BaseURL, gr.ClientID, gr.Sub = g.baseURL, g.clientID, sub // one copy of each in memory
	return gr, rec.Version, true, nil
}

// commit stores gr over the version old and returns the version it wrote.
// The version is returned with every error too, so that a writer who got no
// answer can recognise its own write.
func (g *grants) commit(ctx context.Context, old string, gr grant) (version string, err error) {
	gr.BaseURL, gr.ClientID = g.baseURL, g.clientID
	plain, err := json.Marshal(gr)
	if err != nil {
		return "", err
	}
	key := g.key(gr.Sub)
	rec := Record{Data: g.keys.seal(grantPurpose, key, plain), Version: randomString()}
	switch gr.Status {
	case grantDisconnected:
		rec.Expiry = time.Now().Add(tombstoneLife)
	case grantImported:
		rec.Expiry = time.Now().Add(importedLife)
	case grantReconnect:
		if isImport(gr.Sub) { // no login replaces it
			rec.Expiry = time.Now().Add(importedLife)
		}
	}
	return rec.Version, g.save(ctx, key, old, rec)
}

func (g *grants) load(ctx context.Context, key string) (rec Record, found bool, err error) {
	defer panicked(&err)
	return g.store.FindGrant(ctx, key)
}

func (g *grants) save(ctx context.Context, key, old string, rec Record) (err error) {
	defer panicked(&err)
	return g.store.CommitGrant(ctx, key, old, rec)
}

// randomString returns 256 random bits, base64url-encoded to 43 characters.
func randomString() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}
