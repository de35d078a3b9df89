// Package seal encrypts what is kept where others can read or write it: grants
// in a store, login attempts in a cookie.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
)

// A sealed value is version | key ID | nonce | AES-256-GCM ciphertext. The
// associated data is the purpose and the place where the value is kept, so
// that a value moved elsewhere, or used for another purpose, does not open.
const (
	sealVersion = 1
	keyIDSize   = 4
	nonceSize   = 12
	sealHeader  = 1 + keyIDSize + nonceSize
)

// ErrUnsealable is the error of Open where no key opens the value.
var ErrUnsealable = errors.New("no configured key opens this value")

type sealingKey struct {
	id   [keyIDSize]byte
	aead cipher.AEAD
}

// Keyring seals with its first key and opens with all of them.
type Keyring []sealingKey

// New returns the keyring of keys, 32 random bytes each. The error names every
// key that is not usable, and prints none.
func New(keys [][]byte) (Keyring, error) {
	var ring Keyring
	var errs []error
	for i, k := range keys {
		key, err := newKey(k)
		if err != nil {
			//lint:ignore ST1005 it begins with the name of a field
			errs = append(errs, fmt.Errorf("Keys[%d]: %w", i, err))
			continue
		}
		ring = append(ring, key)
	}
	return ring, errors.Join(errs...)
}

func newKey(k []byte) (sealingKey, error) {
	if len(k) != 32 {
		return sealingKey{}, fmt.Errorf("must be 32 bytes, is %d", len(k))
	}
	distinct := map[byte]struct{}{}
	for _, b := range k {
		distinct[b] = struct{}{}
	}
	if len(distinct) < 8 {
		return sealingKey{}, errors.New("must be random: it repeats a few bytes")
	}
	block, err := aes.NewCipher(k)
	if err != nil {
		return sealingKey{}, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return sealingKey{}, err
	}
	key := sealingKey{aead: aead}
	id := sha256.Sum256(append([]byte("mxmconnect key id\x00"), k...))
	copy(key.id[:], id[:])
	return key, nil
}

// Seal encrypts plain for one purpose and place; only there does it open.
func (r Keyring) Seal(purpose, place string, plain []byte) []byte {
	key := r[0]
	out := make([]byte, sealHeader, sealHeader+len(plain)+key.aead.Overhead())
	out[0] = sealVersion
	copy(out[1:], key.id[:])
	nonce := out[1+keyIDSize : sealHeader]
	rand.Read(nonce)
	return key.aead.Seal(out, nonce, plain, associated(purpose, place))
}

// Open decrypts what Seal made for the same purpose and place.
func (r Keyring) Open(purpose, place string, sealed []byte) ([]byte, error) {
	if len(sealed) < sealHeader || sealed[0] != sealVersion {
		return nil, ErrUnsealable
	}
	id := [keyIDSize]byte(sealed[1 : 1+keyIDSize])
	for _, key := range r {
		if key.id != id {
			continue
		}
		plain, err := key.aead.Open(nil, sealed[1+keyIDSize:sealHeader], sealed[sealHeader:], associated(purpose, place))
		if err == nil {
			return plain, nil
		}
	}
	return nil, ErrUnsealable
}

func associated(purpose, place string) []byte {
	return []byte(purpose + "\x00" + place)
}

// RandomString returns 256 random bits, base64url-encoded to 43 characters.
func RandomString() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}
