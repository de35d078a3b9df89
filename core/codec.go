package core

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/alexedwards/scs/v2"
)

// sessionCodec encodes sessions of basic types without reflection, which is
// most of what a session costs otherwise. A session that holds anything else
// is encoded with gob as a whole, under gob's rules for registering types.
//
// The first byte tells the two apart, and both from a later format.
type sessionCodec struct{}

const (
	sessionPlain = 1
	sessionGob   = 2
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
func (sessionCodec) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
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
			return append([]byte{sessionGob}, b...), err
		}
	}
	b := append(make([]byte, 0, size), sessionPlain)
	b = binary.AppendVarint(b, deadline.UnixNano())
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

func appendString[S string | []byte](b []byte, s S) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Decode implements scs.Codec.
func (sessionCodec) Decode(b []byte) (time.Time, map[string]any, error) {
	if len(b) == 0 {
		return time.Time{}, nil, errUndecodable
	}
	switch b[0] {
	case sessionGob:
		deadline, values, err := scs.GobCodec{}.Decode(b[1:])
		return deadline, values, err
	case sessionPlain:
	default:
		return time.Time{}, nil, errUndecodable
	}
	r := sessionReader{rest: b[1:]}
	deadline := time.Unix(0, r.varint()).UTC()
	values := make(map[string]any, 4)
	for len(r.rest) > 0 && !r.failed {
		key := string(r.bytes())
		values[key] = r.value()
	}
	if r.failed {
		return time.Time{}, nil, errUndecodable
	}
	return deadline, values, nil
}

// sessionReader reads until something does not fit; then failed stays true.
type sessionReader struct {
	rest   []byte
	failed bool
}

func (r *sessionReader) take(n int) []byte {
	if r.failed || n < 0 || n > len(r.rest) {
		r.failed, r.rest = true, nil
		return nil
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *sessionReader) varint() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		n = -1
	}
	r.take(n)
	return v
}

func (r *sessionReader) bytes() []byte {
	size, n := binary.Uvarint(r.rest)
	if n <= 0 || size > uint64(len(r.rest)) {
		n = -1
	}
	r.take(n)
	return r.take(int(size))
}

func (r *sessionReader) value() any {
	tag := r.take(1)
	if r.failed {
		return nil
	}
	switch tag[0] {
	case tagString:
		return string(r.bytes())
	case tagBytes:
		return append([]byte{}, r.bytes()...)
	case tagInt:
		return int(r.varint())
	case tagInt64:
		return r.varint()
	case tagFloat64:
		if b := r.take(8); b != nil {
			return math.Float64frombits(binary.BigEndian.Uint64(b))
		}
	case tagFalse:
		return false
	case tagTrue:
		return true
	case tagTime:
		var t time.Time
		if t.UnmarshalBinary(r.bytes()) == nil {
			return t
		}
	}
	r.failed = true
	return nil
}

// markingCodec marks the errors of the codec below it, so that a session that
// cannot be read is told from a store that cannot be reached.
type markingCodec struct{ scs.Codec }

func (c markingCodec) Decode(b []byte) (time.Time, map[string]any, error) {
	deadline, values, err := c.Codec.Decode(b)
	if err != nil {
		return time.Time{}, nil, errUndecodable
	}
	return deadline, values, nil
}
