//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"time"
)

// run is everything from the first process to the last. It returns an error when
// there is nothing to report on.
func run(ctx context.Context, o options, out io.Writer) (*report, error) {
	dir, err := os.MkdirTemp("", "soak-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	logs := o.logs
	if logs == "" {
		logs = dir
	} else if err := os.MkdirAll(logs, 0o755); err != nil {
		return nil, err
	}
	server, err := startServer(o.store, dir)
	if err != nil {
		return nil, err
	}
	defer server.close()
	h := &health{factor: o.heapFactor}
	h.readParent()
	l := newLedger(o.refreshTimeout, o.idleTimeout)
	m := newMusixmatch(l)
	defer m.Close()
	s := settings{Musixmatch: m.URL, Store: server.url, Key: make([]byte, 32), RefreshTimeout: o.refreshTimeout, IdleTimeout: o.idleTimeout, Mutant: o.mutant}
	rand.Read(s.Key)
	f, err := startFleet(o.instances, s, logs, m, l)
	if err != nil {
		return nil, err
	}
	defer f.close()
	fmt.Fprintf(out, "soak: %d users on %d instances and %s for %s, seed %d\n", o.users, o.instances, o.store, o.length, o.seed)

	c := newCrowd(o, f, l, m)
	h.fleet = f
	h.readIdle()
	began := time.Now()
	load, stop := context.WithTimeout(ctx, o.length)
	defer stop()
	l.refreshes, l.enough = o.refreshes, stop
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		h.watch(load, o, l, out)
	}()
	sabotaged := make(chan struct{})
	go func() {
		defer close(sabotaged)
		saboteur := &saboteur{o: o, fleet: f, musixmatch: m, server: server, ledger: l}
		saboteur.work(load)
	}()
	c.live(load)
	<-sabotaged
	<-watched
	fmt.Fprintf(out, "%8.0f s  the faults are over\n", time.Since(began).Seconds())
	// Also after ctrl-C: a second one ends the program.
	c.settle(context.WithoutCancel(ctx))
	c.transport.CloseIdleConnections()
	h.readEnd()
	f.close()
	h.readParent()
	return newReport(o, l, m, h, time.Since(began)), nil
}

// watch prints a line now and then until ctx is done.
func (h *health) watch(ctx context.Context, o options, l *ledger, out io.Writer) {
	began := time.Now()
	warm := time.After(o.length / 10)
	tick := time.NewTicker(o.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-warm:
			h.readWarm()
		case <-tick.C:
			fmt.Fprintf(out, "%8.0f s  %s %s\n", time.Since(began).Seconds(), l.progress(), h.now())
		}
	}
}
