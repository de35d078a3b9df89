package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mxmconnect/mxmconnect/internal/pipes"
)

func newPipedMusixmatch() *farMusixmatch {
	p := pipes.Listen()
	https := &httptest.Server{Listener: p, Config: &http.Server{}}
	return startFar(https, "https://127.0.0.1", p.Dial)
}

// The round trips of mxmconnect, in a bubble where nothing else takes time.
func TestRoundTrips(t *testing.T) {
	ours := farContenders()[0]
	connections := map[string]int{"callback, cold": 1, "callback, warm": 0, "call, cold": 2, "call, warm": 0, "expired, cold": 3, "expired, warm": 1, "killed, warm": 1, "about to expire: the wait": 1}
	for _, work := range farWorks() {
		t.Run(work.title, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := ours.once(newPipedMusixmatch(), work, 80*time.Millisecond)
				t.Logf("%.2f round trips, %d connections", j.roundTrips, j.connections)
				if work.bar > 0 && j.roundTrips > work.bar {
					t.Errorf("%.2f round trips, want %.1f at most", j.roundTrips, work.bar)
				}
				if j.status != 0 && j.status != http.StatusOK {
					t.Errorf("the API answered %d", j.status)
				}
				if j.connections != connections[work.title] {
					t.Errorf("%d connections, want %d", j.connections, connections[work.title])
				}
			})
		})
	}
}
