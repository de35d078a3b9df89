package simulation_test

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/json"

	"github.com/mxmconnect/mxmconnect/core"
)

var sealingKey = []byte("a key for the simulation alone!!")

// content is what the simulation reads in a sealed record. Claims, which are
// sealed for another purpose, do not open.
type content struct {
	Sub     string
	Gen     int64
	GrantID string `json:"grant_id"`
	Access  string
	Refresh string
	Status  string
	Reason  string

	Unrotated bool
	Intent    *struct {
		ID      string
		Attempt int
	}
}

func openRecord(key string, r core.Record) (c content, ok bool) {
	const header, nonce = 1 + 4 + 12, 1 + 4
	block, err := aes.NewCipher(sealingKey)
	if err != nil || len(r.Data) < header {
		return c, false
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return c, false
	}
	plain, err := aead.Open(nil, r.Data[nonce:header], r.Data[header:], []byte("grant\x00"+key))
	return c, err == nil && json.Unmarshal(plain, &c) == nil
}
