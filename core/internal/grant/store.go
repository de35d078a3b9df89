package grant

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mxmconnect/mxmconnect/core/internal/seal"
)

// opened is a record that was opened before. No other record ever has its version.
type opened struct {
	version string
	gr      grant
}

// read reads the record, and opens it if it is not the one that was opened last.
func (f *flight) read() (found bool, err error) {
	ctx, cancel := context.WithTimeout(f.ctx, storeTimeout)
	defer cancel()
	key := f.m.records.key(f.e.sub)
	rec, found, err := f.m.records.load(ctx, key)
	if err != nil {
		return found, err
	}
	if !found {
		f.gr, f.version = grant{}, ""
		return false, nil
	}
	last := f.e.opened.Load()
	if last == nil || last.version != rec.Version {
		gr, err := f.m.records.open(f.e.sub, key, rec)
		if err != nil {
			return true, err
		}
		last = &opened{rec.Version, gr}
		f.e.opened.Store(last)
	}
	f.gr, f.version = last.gr, last.version
	return true, nil
}

func reasonOf(storeErr error) string {
	if errors.Is(storeErr, seal.ErrUnsealable) {
		return ReasonDecryptFailed
	}
	return ReasonUnavailable
}

// offerIfSlow lets callers have the token that lives if the store takes long.
// The function it returns ends that.
func (f *flight) offerIfSlow() (stop func() bool) { return time.AfterFunc(slowStore, f.offer).Stop }

// writeResult is what became of a write.
type writeResult int

const (
	writeDone writeResult = iota
	writeConflict
	writeFailed // as far as is known; it may take place yet
)

// write puts next in place of the record as last read.
func (f *flight) write(next grant) (writeResult, error) {
	_, out, err := f.tryWrite(next)
	return out, err
}

func (f *flight) tryWrite(next grant) (version string, out writeResult, err error) {
	version, out, err = f.m.records.replace(f.ctx, f.version, next)
	if out == writeDone {
		f.gr, f.version = next, version
	}
	return version, out, err
}

// ErrUnread is a write that failed and could not be read back: it may have taken place.
var ErrUnread = errors.New("the store could not be read after a write that failed")

// replace commits gr over the version old. If the store's answer is lost, it
// reads back and compares.
func (g *records) replace(ctx context.Context, old string, gr grant) (version string, out writeResult, err error) {
	first, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	version, err = g.commit(first, old, gr)
	switch {
	case err == nil:
		return version, writeDone, nil
	case errors.Is(err, ErrConflict):
		return version, writeConflict, err
	}
	second, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	switch stored, at, found, findErr := g.find(second, gr.Sub); {
	case findErr != nil:
		return version, writeFailed, fmt.Errorf("%w: %w", ErrUnread, err)
	case at == version:
		return version, writeDone, nil
	case found && stored.same(gr): // resealed since
		return at, writeDone, nil
	case at != old:
		return version, writeConflict, err
	default:
		return version, writeFailed, err
	}
}
