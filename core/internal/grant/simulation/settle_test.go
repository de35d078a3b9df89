package simulation_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/mxmconnect/mxmconnect/internal/testall"
)

// settle waits until every grant has come to an end: for longer than a token
// is cached, every instance has an answer and none is in doubt.
func (w *world) settle() {
	w.mu.Lock()
	within := w.endsWithin()
	w.mu.Unlock()
	deadline := time.Now().Add(within)
	intents := make([]string, len(w.users))
	for good, n := 0, 0; good < 4; n++ {
		w.mu.Lock()
		procs := append([]*process(nil), w.procs...)
		w.mu.Unlock()
		var open []string
		var probes sync.WaitGroup
		for _, u := range w.users {
			for _, p := range procs {
				probes.Go(func() {
					d := w.roll("probe", u.index, p.index, n)
					time.Sleep(d.between(0, 100*time.Millisecond))
					ctx, cancel := context.WithTimeout(context.WithValue(context.Background(), callerKey{}, 1_000_000+(n*10+u.index)*10+p.index), 20*time.Second)
					defer cancel()
					err := p.callAPI(ctx, u, d)
					w.mu.Lock()
					defer w.mu.Unlock()
					h := u.slot.now()
					state := "gone"
					if h.found {
						state = h.content.Status
					}
					doubt := ""
					if h.content.Intent != nil {
						doubt = h.content.Intent.ID
					}
					w.log(p, "probe of %s: %v, stored %s", u, err, h.content)
					if w.profile.lag && errors.Is(err, errRejected) {
						err = nil // the API does not know the token yet, and a refresh would not help
					}
					if agree := err == nil && state == "live" && (doubt == "" || doubt != intents[u.index]) || reconnect(err) && state != "live"; !agree {
						open = append(open, fmt.Sprintf("%s at %s is %s: %v", u, p, h.content, err))
					}
				})
			}
		}
		probes.Wait()
		w.mu.Lock()
		for _, u := range w.users {
			if in := u.slot.now().content.Intent; in != nil {
				intents[u.index] = in.ID
			}
		}
		if good++; len(open) > 0 {
			good = 0
		}
		over := time.Now().After(deadline) && good == 0
		if over {
			w.wrong("I5", "", "there is no end %s after the last fault: %s", within, strings.Join(open, "; "))
		}
		w.mu.Unlock()
		if over {
			return
		}
		time.Sleep(20 * time.Second)
	}
}

// close ends everything and looks for what is left running.
func (w *world) close(goroutines int) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	w.mu.Lock()
	w.closing = true
	procs := append([]*process(nil), w.procs...)
	w.mu.Unlock()
	for _, p := range procs {
		if err := p.grants.Close(ctx); err != nil {
			w.mu.Lock()
			w.wrong("I8", "", "%s does not close: %v", p, err)
			w.mu.Unlock()
		}
	}
	cancel()
	w.mu.Lock()
	for _, p := range w.everyone {
		p.dead = true
		p.leave()
	}
	w.mu.Unlock()
	time.Sleep(20 * time.Minute) // those whom a crash has left behind
	synctest.Wait()
	if left := runtime.NumGoroutine(); left > goroutines && !testall.Race {
		buf := make([]byte, 1<<16)
		w.wrong("I8", "", "%d goroutines are left:\n%s", left-goroutines, buf[:runtime.Stack(buf, true)])
	}
}
