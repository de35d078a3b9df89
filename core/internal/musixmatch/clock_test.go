package musixmatch

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// hands are the two clocks of a process, set by hand.
type hands struct {
	wall    time.Time
	elapsed time.Duration
}

func (h *hands) clock() Clock {
	return NewClock(func() Moment { return Moment{h.wall.UnixNano(), h.elapsed} })
}

func TestServerClockFollowsTheServer(t *testing.T) {
	h := &hands{wall: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	s := NewServerClock(h.clock())
	now, known := s.Now()
	require.False(t, known)
	require.True(t, h.wall.Equal(now), "our own, until the server has said it")

	at, ok := s.Read("Mon, 02 Jan 2006 15:04:05 GMT", 0)
	require.True(t, ok)
	require.Equal(t, time.Date(2006, 1, 2, 15, 4, 5, 0, time.UTC), at)
	now, known = s.Now()
	require.True(t, known)
	require.True(t, at.Equal(now))
	_, ok = s.Read("yesterday", 0)
	require.False(t, ok)

	// Either clock may be the one that stood still.
	h.elapsed += time.Minute
	now, _ = s.Now()
	require.Equal(t, time.Minute, now.Sub(at))
	h.wall = h.wall.Add(time.Hour)
	now, _ = s.Now()
	require.Equal(t, time.Hour, now.Sub(at), "the machine was suspended")
}

func TestServerClockBeginsWithTheLatestMoment(t *testing.T) {
	h := &hands{wall: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	s := NewServerClock(h.clock())
	at, ok := s.Read("Mon, 02 Jan 2006 15:04:05 GMT", 3*time.Minute)
	require.True(t, ok)
	now, _ := s.Now()
	require.Equal(t, 3*time.Minute, now.Sub(at), "the machine may have been suspended since the answer was made")
}

func TestServerClockBelievesNoLateAnswer(t *testing.T) {
	h := &hands{wall: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	s := NewServerClock(h.clock())
	pass := func(d time.Duration) { h.wall, h.elapsed = h.wall.Add(d), h.elapsed+d }
	start, _ := s.Read("Mon, 02 Jan 2006 15:04:05 GMT", 0)
	pass(time.Minute)
	// It was made when the minute began, and took the whole minute to arrive.
	_, ok := s.Read("Mon, 02 Jan 2006 15:04:05 GMT", time.Minute)
	require.True(t, ok)
	now, _ := s.Now()
	require.Equal(t, time.Minute, now.Sub(start))

	h.wall = h.wall.Add(24 * time.Hour) // somebody sets our clock
	_, ok = s.Read("Mon, 02 Jan 2006 15:06:05 GMT", time.Second)
	require.True(t, ok)
	now, _ = s.Now()
	require.WithinDuration(t, start.Add(2*time.Minute), now, 3*time.Second)
}
