//go:build unix

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// saboteur lets things go wrong.
type saboteur struct {
	o          options
	fleet      *fleet
	musixmatch *musixmatch
	server     *server
	ledger     *ledger
	storeBusy  sync.Mutex
}

// work goes on until ctx is done, and returns when everything is up again. Each
// kind of fault has dice of its own, so that one can be left out without
// changing when others come.
func (s *saboteur) work(ctx context.Context) {
	var all sync.WaitGroup
	for i, k := range kinds {
		every := s.o.faults[k.name]
		if every == 0 {
			continue
		}
		all.Go(func() {
			rng := rand.New(rand.NewPCG(s.o.seed, uint64(i)+1))
			for {
				sleep(ctx, time.Duration(rng.ExpFloat64()*float64(every)))
				if ctx.Err() != nil {
					return
				}
				if err := s.strike(k.name, rng); err != nil {
					s.ledger.fault(err)
				}
			}
		})
	}
	all.Go(func() { s.changeLifetimes(ctx) })
	all.Wait()
	s.musixmatch.disarm()
}

const shortestLife = 5 * time.Second

// changeLifetimes lets access tokens live for 5 s to 45 s. The short ones end
// before a refresh is due, and the API refuses them; of the long ones something
// is left when they are refreshed, and they can be asked about.
func (s *saboteur) changeLifetimes(ctx context.Context) {
	rng := rand.New(rand.NewPCG(s.o.seed, 0))
	for ctx.Err() == nil {
		life := shortestLife + time.Duration(rng.Int64N(int64(s.o.longestLife-shortestLife)+1)).Truncate(time.Second)
		s.musixmatch.Configure(func(c *mxmtest.Settings) { c.AccessLifetime = life })
		sleep(ctx, time.Second)
	}
}

// longestStop is the longest time for which a process is stopped.
func longestStop(refreshTimeout time.Duration) time.Duration { return 8 * refreshTimeout * 3 / 2 }

func (s *saboteur) strike(k kind, rng *rand.Rand) error {
	timeout := s.o.refreshTimeout
	between := func(from, to time.Duration) time.Duration {
		return from + time.Duration(rng.Int64N(int64(to-from)))
	}
	switch k {
	case kill, term, stop:
		in, release := s.pick(rng, k)
		if in == nil {
			return nil
		}
		defer release()
		span := s.ledger.begin(k, in.index, "")
		defer s.ledger.end(span, "")
		switch k {
		case kill:
			s.fleet.kill(in)
			return s.fleet.start(in)
		case term:
			if err := s.fleet.terminate(in); err != nil {
				return err
			}
			return s.fleet.start(in)
		}
		s.fleet.pause(in)
		time.Sleep(between(timeout*3/4, longestStop(timeout)))
		s.fleet.resume(in)
	case lost:
		s.musixmatch.arm(lostAnswer(rng, timeout))
	case fail:
		s.musixmatch.arm(refusal(rng))
	case slow:
		s.musixmatch.arm(slowness(rng, between(timeout/20, timeout*2/3)))
	case late:
		s.musixmatch.arm(lateness(rng, timeout))
	case reset:
		s.musixmatch.arm(tokenFault{kind: reset, what: "the connection is cut", before: mxmtest.DropRequest})
	case cut, hole, crash:
		s.storeBusy.Lock()
		defer s.storeBusy.Unlock()
		return s.strikeStore(k, between)
	}
	return nil
}

func (s *saboteur) strikeStore(k kind, between func(from, to time.Duration) time.Duration) error {
	switch k {
	case cut:
		span := s.ledger.begin(k, everywhere, "connections to the store are cut")
		defer s.ledger.end(span, "")
		s.server.proxy.cut()
	case hole:
		span := s.ledger.begin(k, everywhere, "the store is out of reach")
		defer s.ledger.end(span, "the store is within reach again")
		s.server.proxy.setHole(true)
		time.Sleep(between(time.Second, 8*time.Second))
		s.server.proxy.setHole(false)
	case crash:
		span := s.ledger.begin(k, everywhere, "the store is killed")
		defer s.ledger.end(span, "the store is up again")
		if err := s.server.kill(); err != nil {
			return err
		}
		time.Sleep(between(10*time.Millisecond, 3*time.Second))
		return s.server.restart()
	}
	return nil
}

// pick chooses an instance that no other fault is at. The first of several is
// only ever stopped: it shows whether memory grows.
func (s *saboteur) pick(rng *rand.Rand, k kind) (*instance, func()) {
	all := s.fleet.instances
	if k != stop && len(all) > 1 {
		all = all[1:]
	}
	for first, n := rng.IntN(len(all)), 0; n < len(all); n++ {
		if in := all[(first+n)%len(all)]; in.busy.TryLock() {
			return in, in.busy.Unlock
		}
	}
	return nil, nil
}

// lostAnswer is one of the ways in which an answer fails to arrive.
func lostAnswer(rng *rand.Rand, timeout time.Duration) tokenFault {
	f := tokenFault{kind: lost, loses: true}
	switch rng.IntN(4) {
	case 0:
		f.what, f.after = "the connection is cut before the answer", mxmtest.DropResponse
	case 1:
		f.what, f.after = "the answer is cut short", mxmtest.Truncated
	case 2:
		f.what, f.after = "a proxy answers 502 instead", mxmtest.HTML(http.StatusBadGateway)
	case 3:
		f.what, f.after = "the answer comes too late", mxmtest.SlowResponse(timeout*7/2)
	}
	return f
}

func refusal(rng *rand.Rand) tokenFault {
	status := []int{429, 500, 502, 503}[rng.IntN(4)]
	f := tokenFault{kind: fail, what: fmt.Sprintf("refused with %d", status)}
	switch status {
	case 502:
		f.before = mxmtest.HTML(status)
	case 429, 503:
		f.before = mxmtest.Status(status, `{}`, time.Duration(rng.IntN(2))*time.Second)
	default:
		f.before = mxmtest.Status(status, `{"error":"server_error"}`, 0)
	}
	return f
}

func slowness(rng *rand.Rand, d time.Duration) tokenFault {
	f := tokenFault{kind: slow, what: fmt.Sprintf("it takes %s", d.Round(time.Millisecond))}
	if rng.IntN(2) == 0 {
		f.before = mxmtest.SlowRequest(d)
	} else {
		f.after = mxmtest.SlowResponse(d)
	}
	return f
}

// lateness is an answer that comes after the time for a refresh is over, and not
// too late to be read. One in four is of a request that is carried out late.
func lateness(rng *rand.Rand, timeout time.Duration) tokenFault {
	f := tokenFault{kind: late}
	times := 1.05 + 1.85*rng.Float64()
	if rng.IntN(4) == 0 {
		times = 1.05 + .35*rng.Float64()
		f.before = mxmtest.SlowRequest(time.Duration(times * float64(timeout)))
	} else {
		f.after = mxmtest.SlowResponse(time.Duration(times * float64(timeout)))
	}
	f.what = fmt.Sprintf("the answer takes %.2f times the timeout, carried out late: %t", times, f.before != nil)
	return f
}

// fault enters something that went wrong with the sabotage itself, such as an
// instance that does not end when it is asked to.
func (l *ledger) fault(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong("%s", err)
}
