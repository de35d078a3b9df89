// Command mxm helps with the first day: it checks a configuration, finds out how
// the real server behaves, and stands in for that server.
//
//	go run github.com/mxmconnect/mxmconnect/cmd/mxm doctor
//	go run github.com/mxmconnect/mxmconnect/cmd/mxm probe
//	go run github.com/mxmconnect/mxmconnect/cmd/mxm fake
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const help = `mxm helps people who integrate "Sign in with Musixmatch".

  mxm doctor   checks a configuration, without a user
  mxm probe    measures what Musixmatch's documentation leaves open, with a test user
  mxm fake     runs a fake Musixmatch

mxm COMMAND -h explains a command.
`

// What a command writes to and reads from.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// errFailed ends a command that has said what is wrong.
var errFailed = errors.New("failed")

// usageError is a wrong call.
type usageError struct{ error }

var commands = map[string]func(ctx context.Context, args []string, s streams) error{
	"doctor": runDoctor,
	"probe":  runProbe,
	"fake":   runFake,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal does not wait
	os.Exit(run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}))
}

// run returns the exit status: 1 after a failure, 2 after a wrong call.
func run(ctx context.Context, args []string, s streams) int {
	if len(args) == 0 {
		fmt.Fprint(s.err, help)
		return 2
	}
	command, ok := commands[args[0]]
	switch {
	case args[0] == "-h" || args[0] == "-help" || args[0] == "--help" || args[0] == "help":
		fmt.Fprint(s.out, help)
		return 0
	case !ok:
		fmt.Fprintf(s.err, "mxm: there is no command %q; mxm -h lists them\n", args[0])
		return 2
	}
	err := command(ctx, args[1:], s)
	var usage usageError
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(s.err, "mxm %s: %v; mxm %[1]s -h explains it\n", args[0], err)
		return 2
	case !errors.Is(err, errFailed):
		fmt.Fprintf(s.err, "mxm %s: %v\n", args[0], err)
	}
	return 1
}

// parse reads a command's flags. It takes no arguments besides.
func parse(f *flag.FlagSet, args []string, s streams, about string) error {
	f.SetOutput(io.Discard)
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintf(s.out, "%s\n\nFlags:\n", about)
		f.SetOutput(s.out)
		f.PrintDefaults()
		return err
	case err != nil:
		return usageError{err}
	case f.NArg() > 0:
		return usageError{fmt.Errorf("unexpected argument %q", f.Arg(0))}
	}
	return nil
}
