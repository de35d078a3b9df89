package seal

import "encoding/hex"

// KeyOf returns the ID of the key that sealed a value, as text, and that key's
// place in the keyring: 0 seals, others only open, -1 is a key that is not there,
// or no sealed value at all.
func (r Keyring) KeyOf(sealed []byte) (id string, place int) {
	if len(sealed) < sealHeader || sealed[0] != sealVersion {
		return "", -1
	}
	found := [keyIDSize]byte(sealed[1 : 1+keyIDSize])
	id = hex.EncodeToString(found[:])
	for i, key := range r {
		if key.id == found {
			return id, i
		}
	}
	return id, -1
}
