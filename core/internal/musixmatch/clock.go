package musixmatch

import (
	"net/http"
	"sync"
	"time"
)

// Clock reads the time of the process: a wall clock, which may be wrong and may
// jump, and a monotonic one, which stands still while the machine is suspended.
type Clock struct {
	now     func() Moment
	elapsed func() time.Duration
}

// NewClock returns a clock that reads now.
func NewClock(now func() Moment) Clock {
	return Clock{now, func() time.Duration { return now().Elapsed }}
}

// Moment is a reading of both clocks.
type Moment struct {
	Wall    int64         // Unix nanoseconds
	Elapsed time.Duration // since some moment before the process asked for the first time
}

// SystemClock is the clock of this process.
func SystemClock() Clock {
	start := time.Now()
	return Clock{
		now: func() Moment {
			now := time.Now()
			return Moment{now.UnixNano(), now.Sub(start)}
		},
		elapsed: func() time.Duration { return time.Since(start) },
	}
}

// Now reads both clocks.
func (c Clock) Now() Moment { return c.now() }

// Elapsed reads the monotonic clock, for half the price.
func (c Clock) Elapsed() time.Duration { return c.elapsed() }

// Since returns the time since m, by the clock that says more.
func (c Clock) Since(m Moment) time.Duration { return c.now().Since(m) }

// Since returns the time from m to now, by the clock that says more.
func (now Moment) Since(m Moment) time.Duration {
	return max(now.Elapsed-m.Elapsed, time.Duration(now.Wall-m.Wall))
}

// ServerClock follows the authorization server's clock by the Date of its
// answers, so that a wrong clock of ours costs one early refresh and no more.
// It is safe for concurrent use.
type ServerClock struct {
	clock Clock

	mu     sync.Mutex
	known  bool
	at     Moment
	server time.Time // at that moment
}

// NewServerClock returns a clock that has heard nothing of the server yet.
func NewServerClock(c Clock) *ServerClock { return &ServerClock{clock: c} }

// dateResolution is how much a Date header leaves out (RFC 9110 section 5.6.7).
const dateResolution = time.Second

// Read takes note of the Date header of an answer, which came within took after
// its request began. It returns that time, or false if the header is no date.
//
// The server made the answer at some moment within took, so its time is now
// between date and date+took. An estimate within these bounds stays; the first one
// is the latest of them, so that no token is believed to live longer than it may.
func (s *ServerClock) Read(header string, took time.Duration) (date time.Time, ok bool) {
	date, err := http.ParseTime(header)
	if err != nil {
		return time.Time{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	server := date.Add(took)
	if s.known {
		server = s.estimate()
		if latest := date.Add(took + dateResolution); server.Before(date) {
			server = date
		} else if server.After(latest) {
			server = latest
		}
	}
	s.known, s.at, s.server = true, s.clock.Now(), server
	return date, true
}

// Now returns the server's time. Until the server has said it, that is our own
// wall clock, and known is false.
func (s *ServerClock) Now() (t time.Time, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.known {
		return time.Unix(0, s.clock.Now().Wall), false
	}
	return s.estimate(), true
}

func (s *ServerClock) estimate() time.Time { return s.server.Add(s.clock.Since(s.at)) }
