// Command mxmtest runs a fake Musixmatch until it is interrupted. When it is
// ready, it prints its base URL on a line of its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

func main() {
	o, err := parse(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "mxmtest:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	l, err := net.Listen("tcp", o.addr)
	if err != nil {
		return err
	}
	if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		fmt.Fprintln(os.Stderr, "mxmtest: warning: other machines can reach this server, and anybody can sign in there as anybody")
	}
	base := o.base
	if base == "" {
		base = "http://" + l.Addr().String()
	}
	srv := mxmtest.NewUnstarted(base)
	srv.RemoveClient(mxmtest.DefaultClientID)
	for _, c := range o.clients {
		srv.AddClient(c.id, c.secret, o.redirects...)
	}
	srv.Configure(func(s *mxmtest.Settings) { *s = o.settings })
	srv.SignInAs(o.user)

	server := http.Server{Handler: srv, ReadHeaderTimeout: time.Minute}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	fmt.Println(base)
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	srv.Close()
	return nil
}
