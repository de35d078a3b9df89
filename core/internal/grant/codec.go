package grant

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
)

// A grant is stored as JSON. During a rolling upgrade two versions of this package
// write the same record, and the older one does not know every member. It keeps
// those it does not know, and writes them again for as long as the record is of
// the same grant. Only the top level is kept like this: an intent is replaced as
// a whole.

var errNotGrant = errors.New("the record is not a grant")

// encode returns gr as it is stored.
func (gr grant) encode() ([]byte, error) {
	plain, err := json.Marshal(gr)
	if err != nil || gr.Unknown == "" {
		return plain, err
	}
	return slices.Concat(plain[:len(plain)-1], []byte{','}, []byte(gr.Unknown[1:])), nil
}

// decode reads what encode wrote, here or in another version.
func decode(plain []byte) (gr grant, err error) {
	var members map[string]json.RawMessage
	if json.Unmarshal(plain, &gr) != nil || json.Unmarshal(plain, &members) != nil {
		return grant{}, errNotGrant
	}
	for name := range members {
		if slices.ContainsFunc(grantMembers, func(known string) bool { return strings.EqualFold(known, name) }) {
			delete(members, name)
		}
	}
	if len(members) == 0 {
		return gr, nil
	}
	unknown, err := json.Marshal(members)
	gr.Unknown = string(unknown)
	return gr, err
}

// grantMembers are the names that this version knows.
var grantMembers = membersOf(reflect.TypeFor[grant]())

func membersOf(t reflect.Type) (names []string) {
	for f := range t.Fields() {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "-" {
			names = append(names, name)
		}
	}
	return names
}
