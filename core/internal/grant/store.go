package grant

import (
	"context"
	"errors"

	"github.com/mxmconnect/mxmconnect/core/internal/seal"
)

// read reads the record. A version comes with a record that does not open, too.
func (f *flight) read() (found bool, err error) {
	ctx, cancel := context.WithTimeout(f.ctx, storeTimeout)
	defer cancel()
	gr, version, found, err := f.m.records.find(ctx, f.e.sub)
	if err == nil {
		f.gr, f.version = gr, version
	}
	return found, err
}

func reasonOf(storeErr error) string {
	if errors.Is(storeErr, seal.ErrUnsealable) {
		return ReasonDecryptFailed
	}
	return ReasonUnavailable
}

// outcome is what became of a write.
type writeResult int

const (
	writeDone writeResult = iota
	writeConflict
	writeFailed // as far as is known; it may take place yet
)

// write puts next in place of the record as last read. A write that was not
// acknowledged is recognised by its version.
func (f *flight) write(next grant) (writeResult, error) {
	_, out, err := f.tryWrite(next)
	return out, err
}

func (f *flight) tryWrite(next grant) (version string, out writeResult, err error) {
	ctx, cancel := context.WithTimeout(f.ctx, storeTimeout)
	defer cancel()
	version, err = f.m.records.commit(ctx, f.version, next)
	if err != nil {
		if errors.Is(err, ErrConflict) {
			return version, writeConflict, err
		}
		again, cancel := context.WithTimeout(f.ctx, storeTimeout)
		defer cancel()
		_, stored, _, findErr := f.m.records.find(again, f.e.sub)
		switch {
		case findErr != nil:
			return version, writeFailed, err
		case stored == version:
		case stored != f.version:
			return version, writeConflict, err
		default:
			return version, writeFailed, err
		}
	}
	f.gr, f.version = next, version
	return version, writeDone, nil
}
