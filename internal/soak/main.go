//go:build unix

// Command soak lets many users live on several instances of a small
// application, for as long as one likes, while instances are killed, answers get
// lost and the store breaks down. In the end it prints a ledger: who lost what,
// why, and whether anybody could have helped it.
//
//	go run ./internal/soak -store redis -instances 3 -users 300 -for 10m
//
// The fake Musixmatch and its books are in this process, the instances are
// processes of their own, and so is the store: a kill never takes the books. The
// ledger believes the books and the users, never the library. -h explains the
// flags.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if isInstance() {
		os.Exit(instanceMain())
	}
	o, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal does not wait for the ledger
	r, err := run(ctx, o, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(2)
	}
	r.print(os.Stdout)
	if len(r.verdicts()) > 0 {
		os.Exit(1)
	}
}
