package session

import (
	"time"

	"github.com/alexedwards/scs/v2"
)

type (
	Codec  = codec
	SignIn = signIn
)

const (
	FormatPlain = formatPlain
	FormatGob   = formatGob
	MaxSize     = maxSize
	TokenLength = tokenLength
)

var (
	ErrTooLarge    = errTooLarge
	ErrUndecodable = errUndecodable
	ErrAnswered    = errAnswered

	PeekString  = peekString
	ParseSignIn = parseSignIn
	StoreKey    = storeKey
	CookieValue = cookieValue
)

// EncodeUnbounded is Encode without its limit.
func EncodeUnbounded(deadline time.Time, values map[string]any) ([]byte, error) {
	return codec{}.encode(deadline, values)
}

// NewSignIn returns what SignIn.String makes text of.
func NewSignIn(user string, expires, lastSeen int64) SignIn {
	return signIn{user: user, expires: expires, lastSeen: lastSeen}
}

func (in signIn) User() string    { return in.user }
func (in signIn) LastSeen() int64 { return in.lastSeen }

// Served is the scs manager that serves requests.
func (m *Manager) Served() *scs.SessionManager { return m.scs }

// Lazy reports whether sessions are decoded only when something asks.
func (m *Manager) Lazy() bool { return m.contextKey != nil }

func (m *Manager) TouchEvery() time.Duration { return m.touchEvery() }
