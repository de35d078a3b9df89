// Package seal encrypts what is kept where others can read or write it: grants
// in a store, login attempts in a cookie.
package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// A sealed value is version | key ID | salt | nonce | AES-256-GCM ciphertext.
// HKDF (RFC 5869) derives the AES key from the configured one, the purpose and
// the salt, so that no key of AES seals for two purposes, and hardly ever for
// two values. Salt and nonce are 192 random bits: what one key may seal has no
// limit in practice, where random nonces of 96 bits alone allow 2^32 values (NIST
// SP 800-38D section 8.3). The associated data is the place where the value is
// kept: a value moved elsewhere does not open.
const (
	sealVersion = 1
	keyIDSize   = 4
	saltSize    = 12
	sealHeader  = 1 + keyIDSize + saltSize
	keySize     = 32
	gcmOverhead = 12 + 16 // nonce and tag
)

// ErrUnsealable is the error of Open where no key opens the value.
var ErrUnsealable = errors.New("no configured key opens this value")

type sealingKey struct {
	id     [keyIDSize]byte
	secret []byte
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
	if len(k) != keySize {
		return sealingKey{}, fmt.Errorf("must be %d bytes, is %d%s", keySize, len(k), encoded(k))
	}
	distinct := map[byte]struct{}{}
	for _, b := range k {
		distinct[b] = struct{}{}
	}
	if len(distinct) < 8 {
		return sealingKey{}, errors.New("must be random: it repeats a few bytes")
	}
	key := sealingKey{secret: bytes.Clone(k)}
	copy(key.id[:], key.derive("key id", keyIDSize))
	return key, nil
}

// encoded says that k looks like a key in one of the usual encodings, if it does.
func encoded(k []byte) string {
	if b, err := hex.DecodeString(string(k)); err == nil && len(b) == keySize {
		return ": it looks like hex text, so decode it first"
	}
	text := strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(string(k), "=\n"))
	if b, err := base64.RawStdEncoding.DecodeString(text); err == nil && len(b) == keySize {
		return ": it looks like base64 text, so decode it first"
	}
	return ""
}

// derive is HKDF-Expand alone: the configured keys are random, so that there is
// nothing to extract (RFC 5869 section 3.3).
func (k sealingKey) derive(info string, size int) []byte {
	derived, err := hkdf.Expand(sha256.New, k.secret, "mxmconnect "+info, size)
	if err != nil {
		panic(err) // of a size that SHA-256 cannot give
	}
	return derived
}

func (k sealingKey) aead(salt []byte, purpose string) cipher.AEAD {
	block, err := aes.NewCipher(k.derive("seal "+purpose+string(salt), keySize))
	if err != nil {
		panic(err) // of a wrong size
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // of a block that is not AES
	}
	return aead
}

// Seal encrypts plain for one purpose and place; only there does it open.
func (r Keyring) Seal(purpose, place string, plain []byte) []byte {
	key := r[0]
	out := make([]byte, sealHeader, sealHeader+len(plain)+gcmOverhead)
	out[0] = sealVersion
	copy(out[1:], key.id[:])
	salt := out[1+keyIDSize : sealHeader]
	rand.Read(salt)
	return key.aead(salt, purpose).Seal(out, nil, plain, []byte(place))
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
		plain, err := key.aead(sealed[1+keyIDSize:sealHeader], purpose).Open(nil, nil, sealed[sealHeader:], []byte(place))
		if err == nil {
			return plain, nil
		}
	}
	return nil, ErrUnsealable
}

// RandomString returns 256 random bits, base64url-encoded to 43 characters.
func RandomString() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}
