package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// What a person waits for when Musixmatch is far away, over TLS, handshakes
// included, in round trips: those are the same at every distance.

var distances = []time.Duration{20 * time.Millisecond, 80 * time.Millisecond, 200 * time.Millisecond}

// journey is what a piece of work took.
type journey struct {
	roundTrips  float64
	connections int
	status      int // of the API's answer; 0: it was not asked
}

func (j journey) String() string {
	if j.status != 0 && j.status != http.StatusOK {
		return fmt.Sprint("answer ", j.status)
	}
	return fmt.Sprintf("%.1f (%d)", j.roundTrips, j.connections)
}

// farWork is a piece of work. Warm is a process that has signed somebody in,
// refreshed, and called the API a moment ago; cold is one that has just started.
type farWork struct {
	title string
	bar   float64 // round trips of mxmconnect, at most; 0: none
	take  func(srv *farMusixmatch, c farClient, distance time.Duration) journey
}

const traveller = "mxm:100000000000000000002"

func farWorks() []farWork {
	call := func(prepare func(*farMusixmatch, farClient)) func(*farMusixmatch, farClient, time.Duration) journey {
		return func(srv *farMusixmatch, c farClient, distance time.Duration) journey {
			prepare(srv, c)
			status := 0
			j := srv.measure(distance, func() { status = c.get(traveller) })
			j.status = status
			return j
		}
	}
	signIn := func(srv *farMusixmatch, c farClient, distance time.Duration) journey {
		return srv.measure(distance, c.start(traveller, 0))
	}
	expired := func(srv *farMusixmatch, c farClient) {
		c.start(traveller, 2*time.Hour)()
		srv.ExpireAccessTokens(traveller)
	}
	return []farWork{
		{"callback, cold", 4.2, signIn},
		{"callback, warm", 2.2, func(srv *farMusixmatch, c farClient, distance time.Duration) journey {
			srv.warm(c)
			return signIn(srv, c, distance)
		}},
		{"call, cold", 0, call(func(_ *farMusixmatch, c farClient) {
			c.start(traveller, 0)()
			c.restart()
		})},
		{"call, warm", 1.1, call(func(srv *farMusixmatch, c farClient) {
			srv.warm(c)
			c.start(traveller, 0)()
		})},
		{"expired, cold", 7.2, call(func(srv *farMusixmatch, c farClient) {
			expired(srv, c)
			c.restart()
		})},
		{"expired, warm", 4.3, call(func(srv *farMusixmatch, c farClient) {
			expired(srv, c)
			srv.warm(c)
		})},
		{"killed, warm", 5.2, call(func(srv *farMusixmatch, c farClient) {
			srv.warm(c)
			c.start(traveller, 0)()
			srv.ExpireAccessTokens(traveller)
		})},
		{"about to expire: the wait", 1.3, callsAllTheWhile},
	}
}

// measure takes what step does at a distance. Connections made for what it leaves
// behind count, too.
func (m *farMusixmatch) measure(distance time.Duration, step func()) journey {
	before := m.dials.Load()
	m.roundTrip.Store(int64(distance))
	start := time.Now()
	step()
	took := time.Since(start)
	time.Sleep(3 * distance)
	m.roundTrip.Store(0)
	return journey{roundTrips: float64(took) / float64(distance), connections: int(m.dials.Load() - before)}
}

// warm makes c a process that has been in use a moment ago.
func (m *farMusixmatch) warm(c farClient) {
	const other = "mxm:100000000000000000003"
	c.start(other, 0)()
	m.ExpireAccessTokens(other)
	c.get(other)
	var arrived, done sync.WaitGroup
	arrived.Add(rushCallers)
	all := make(chan struct{})
	m.Fail(mxmtest.API, func(x *mxmtest.Exchange) { arrived.Done(); x.Wait(all) }, mxmtest.Times(rushCallers))
	for range rushCallers {
		done.Go(func() { m.whoami(&http.Client{Transport: c.transport()}) })
	}
	arrived.Wait()
	close(all)
	done.Wait()
	time.Sleep(50 * time.Millisecond) // what a refresh leaves behind
}

const rushCallers = 24

// callsAllTheWhile is calls that begin all the while, six in each round trip, from when a
// token is due until it has been replaced. It returns how long one waits at the
// longest, beside its own call.
func callsAllTheWhile(srv *farMusixmatch, c farClient, distance time.Duration) journey {
	c.start(traveller, c.dueAge())()
	srv.warm(c)
	var longest time.Duration
	status := http.StatusOK
	j := srv.measure(distance, func() {
		var mu sync.Mutex
		var calls sync.WaitGroup
		for range rushCallers {
			calls.Go(func() {
				start := time.Now()
				got := c.get(traveller)
				took := time.Since(start)
				mu.Lock()
				defer mu.Unlock()
				longest, status = max(longest, took), max(status, got)
			})
			time.Sleep(distance / 6)
		}
		calls.Wait()
	})
	j.roundTrips, j.status = float64(longest)/float64(distance)-1, status
	return j
}

// farRow is what a contender came to at one distance.
type farRow struct {
	farContender
	distance time.Duration
	journeys []journey // in the order of farWorks; the fastest of each
}

// travel measures all contenders at all distances. Nearly all of it is waiting,
// so the distances are measured side by side; more often those that take less.
func travel() []farRow {
	rows := make([][]farRow, len(distances))
	var all sync.WaitGroup
	for i, distance := range distances {
		rounds := max(2, int(distances[len(distances)-1]/distance))
		all.Go(func() {
			for _, c := range farContenders() {
				rows[i] = append(rows[i], c.travel(distance, rounds))
			}
		})
	}
	all.Wait()
	var flat []farRow
	for _, r := range rows {
		flat = append(flat, r...)
	}
	return flat
}

func (c farContender) travel(distance time.Duration, rounds int) farRow {
	row := farRow{farContender: c, distance: distance}
	for _, work := range farWorks() {
		var best journey
		for n := range rounds {
			j := c.once(newFarMusixmatch(), work, distance)
			if n == 0 || j.roundTrips < best.roundTrips {
				best = j
			}
		}
		row.journeys = append(row.journeys, best)
	}
	return row
}

func (c farContender) once(srv *farMusixmatch, work farWork, distance time.Duration) journey {
	defer srv.close()
	client := c.open(srv)
	defer client.close()
	return work.take(srv, client, distance)
}

// farTable is one row for each distance and contender.
func farTable(b *strings.Builder, rows []farRow) {
	b.WriteString("\nWhat a person waits for when Musixmatch is far away, over TLS, in round trips, and (in brackets) how many connections were made. " +
		"*Cold* is a process that has just started, *warm* one that was in use a moment ago. A sign-in is the code exchange and the question whose the token is. " +
		"A *killed* token has been ended before its time by a refresh elsewhere; *about to expire* is the longest wait, beside its own call, of calls that begin all the while until the token has been replaced:\n\n| distance | ")
	for _, w := range farWorks() {
		fmt.Fprintf(b, "| %s ", w.title)
	}
	fmt.Fprintf(b, "|\n|---|---%s|\n", strings.Repeat("|--:", len(farWorks())))
	last := time.Duration(0)
	for _, r := range rows {
		title := ""
		if r.distance != last {
			title, last = r.distance.String(), r.distance
		}
		fmt.Fprintf(b, "| %s | %s ", title, bold(r.name, r.ours))
		for _, j := range r.journeys {
			fmt.Fprintf(b, "| %s ", j)
		}
		b.WriteString("|\n")
	}
}
