package grant

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/internal/musixmatch"
	"github.com/mxmconnect/mxmconnect/core/internal/seal"
)

// contrary is a store that has nothing, and in which somebody was faster.
type contrary struct{ calls atomic.Int64 }

func (s *contrary) FindGrant(context.Context, string) (Record, bool, error) {
	s.calls.Add(1)
	return Record{}, false, nil
}

func (s *contrary) CommitGrant(context.Context, string, string, Record) error {
	s.calls.Add(1)
	return ErrConflict
}

func TestImportIntoAContraryStore(t *testing.T) {
	store := new(contrary)
	keys, err := seal.New([][]byte{testKey(1)})
	require.NoError(t, err)
	m := New(Options{
		Store: store, Server: &fakeServer{}, Keys: keys, BaseURL: "https://connect.example", ClientID: "client",
		RefreshTimeout: 30 * time.Second, Clock: musixmatch.SystemClock(), Report: func(context.Context, Report) {},
	})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = m.Import(ctx, "rt")
	require.Equal(t, Unavailable, outcomeOf(err))
	require.Less(t, store.calls.Load(), int64(20))
}

// An answer that was under way for long does not put the clock back.
func TestLatestDateIsTheLatest(t *testing.T) {
	var d dated
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	d.note(noon, time.Minute)
	d.note(noon.Add(-70*time.Second), time.Minute+10*time.Second)
	date, ok := d.latest(time.Minute + 20*time.Second)
	require.True(t, ok)
	require.Equal(t, noon.Add(20*time.Second), date)
	d.note(noon.Add(20*time.Second), 3*time.Minute)
	date, ok = d.latest(3 * time.Minute)
	require.True(t, ok)
	require.Equal(t, noon.Add(20*time.Second), date, "what is a minute old counts no more")
}
