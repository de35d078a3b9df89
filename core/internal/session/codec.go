package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/alexedwards/scs/v2"
)

// codec encodes sessions of basic types without reflection, which would be most
// of a session's cost. A session that holds anything else is encoded with gob
// as a whole, and gob's rules for registering types apply.
//
// The first byte names the format. A later format gets another one.
type codec struct{}

// maxSize bounds an encoded session. A session that grows with every request is
// a mistake of the application.
const maxSize = 1 << 20 // bytes

var errTooLarge = fmt.Errorf("the session is larger than %d bytes", maxSize)

const (
	formatPlain = 1
	formatGob   = 2
)

const (
	tagString byte = iota + 1
	tagBytes
	tagInt
	tagInt64
	tagFloat64
	tagFalse
	tagTrue
	tagTime
)

// errUndecodable marks a session that its codec could not read.
var errUndecodable = errors.New("the session cannot be decoded")

// Encode implements scs.Codec.
func (c codec) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	b, err := c.encode(deadline, values)
	if len(b) > maxSize {
		return nil, errTooLarge
	}
	return b, err
}

func (codec) encode(deadline time.Time, values map[string]any) ([]byte, error) {
	size := 16
	for k, v := range values {
		size += len(k) + 16
		switch v := v.(type) {
		case string:
			size += len(v)
		case []byte:
			size += len(v)
		case int, int64, float64, bool, time.Time:
		default:
			b, err := scs.GobCodec{}.Encode(deadline, values)
			return append([]byte{formatGob}, b...), err
		}
	}
	b := append(make([]byte, 0, size), formatPlain)
	b = binary.AppendVarint(b, nanos(deadline))
	for k, v := range values {
		b = appendString(b, k)
		switch v := v.(type) {
		case string:
			b = appendString(append(b, tagString), v)
		case []byte:
			b = appendString(append(b, tagBytes), v)
		case int:
			b = binary.AppendVarint(append(b, tagInt), int64(v))
		case int64:
			b = binary.AppendVarint(append(b, tagInt64), v)
		case float64:
			b = binary.BigEndian.AppendUint64(append(b, tagFloat64), math.Float64bits(v))
		case bool:
			if v {
				b = append(b, tagTrue)
			} else {
				b = append(b, tagFalse)
			}
		case time.Time:
			text, err := v.MarshalBinary()
			if err != nil {
				return nil, err
			}
			b = appendString(append(b, tagTime), text)
		}
	}
	return b, nil
}

// nanos returns t in Unix nanoseconds, or for a t beyond 2262 the last moment
// that they can express: UnixNano would return one in the past.
func nanos(t time.Time) int64 {
	if last := time.Unix(0, math.MaxInt64); t.After(last) {
		t = last
	}
	return t.UnixNano()
}

func appendString[S string | []byte](b []byte, s S) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Decode implements scs.Codec.
func (codec) Decode(b []byte) (time.Time, map[string]any, error) {
	if len(b) == 0 || len(b) > maxSize {
		return time.Time{}, nil, errUndecodable
	}
	switch b[0] {
	case formatGob:
		deadline, values, err := scs.GobCodec{}.Decode(b[1:])
		return deadline, values, err
	case formatPlain:
	default:
		return time.Time{}, nil, errUndecodable
	}
	r := reader{rest: string(b[1:])} // one copy, of which keys and values are parts
	deadline := time.Unix(0, r.varint()).UTC()
	values := make(map[string]any, 4)
	for len(r.rest) > 0 && !r.failed {
		key := r.text()
		values[key] = r.value()
	}
	if r.failed {
		return time.Time{}, nil, errUndecodable
	}
	return deadline, values, nil
}

// peekString returns the string under key, or "", without decoding the rest. It
// is not ok if the session is in gob's format or cannot be read.
func peekString(encoded []byte, key string) (text string, ok bool) {
	if len(encoded) == 0 || len(encoded) > maxSize || encoded[0] != formatPlain {
		return "", false
	}
	r := reader{rest: string(encoded[1:])}
	r.varint()
	for len(r.rest) > 0 && !r.failed {
		name, value := r.text(), r.value()
		if name == key {
			text, _ = value.(string)
		}
	}
	return text, !r.failed
}

// reader reads an encoded session. At the first mistake failed becomes true and
// stays so.
type reader struct {
	rest   string
	failed bool
}

func (r *reader) take(n int) string {
	if r.failed || n < 0 || n > len(r.rest) {
		r.failed, r.rest = true, ""
		return ""
	}
	part := r.rest[:n]
	r.rest = r.rest[n:]
	return part
}

func (r *reader) uvarint() uint64 {
	var v uint64
	for shift := 0; shift < 64; shift += 7 {
		b := r.take(1)
		if r.failed {
			return 0
		}
		v |= uint64(b[0]&0x7f) << shift
		if b[0] < 0x80 {
			return v
		}
	}
	r.failed = true
	return 0
}

// varint undoes the zigzag of binary.AppendVarint.
func (r *reader) varint() int64 {
	v := r.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (r *reader) text() string {
	size := r.uvarint()
	if size > uint64(len(r.rest)) {
		r.failed = true
		return ""
	}
	return r.take(int(size))
}

func (r *reader) value() any {
	tag := r.take(1)
	if r.failed {
		return nil
	}
	switch tag[0] {
	case tagString:
		return r.text()
	case tagBytes:
		return []byte(r.text())
	case tagInt:
		return int(r.varint())
	case tagInt64:
		return r.varint()
	case tagFloat64:
		if bits := r.take(8); !r.failed {
			return math.Float64frombits(binary.BigEndian.Uint64([]byte(bits)))
		}
	case tagFalse:
		return false
	case tagTrue:
		return true
	case tagTime:
		var t time.Time
		if t.UnmarshalBinary([]byte(r.text())) == nil {
			return t
		}
	}
	r.failed = true
	return nil
}

// markingCodec replaces the errors of a codec by errUndecodable. That tells a
// session that cannot be read from a store that cannot be reached.
type markingCodec struct{ scs.Codec }

func (c markingCodec) Decode(b []byte) (time.Time, map[string]any, error) {
	deadline, values, err := c.Codec.Decode(b)
	if err != nil {
		return time.Time{}, nil, errUndecodable
	}
	return deadline, values, nil
}
