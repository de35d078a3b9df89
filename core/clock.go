package core

import (
	"net/http"
	"sync/atomic"
	"time"
)

// serverClock follows the authorization server's clock by the Date of its
// answers, so that a wrong clock of ours costs one early refresh and no more.
type serverClock struct{ last atomic.Pointer[clockReading] }

type clockReading struct{ local, server time.Time }

// read returns the time that a Date header names, and whether there was one.
func (c *serverClock) read(date string) (time.Time, bool) {
	server, err := http.ParseTime(date)
	if err != nil {
		return c.now(), false
	}
	c.last.Store(&clockReading{local: time.Now(), server: server})
	return server, true
}

// now is the server's time: our own until it has answered once.
func (c *serverClock) now() time.Time {
	if r := c.last.Load(); r != nil {
		return r.server.Add(time.Since(r.local))
	}
	return time.Now()
}
