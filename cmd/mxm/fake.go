package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

const fakeHelp = `mxm fake runs a fake Musixmatch for tests and offline work, until it is interrupted. When it is ready, it prints
the lines of core.Config and the environment that a program needs. Anybody who reaches it can sign in as anybody.

-profile replays the behaviour that mxm probe has found at a real server. Flags behind it change single policies.`

// fakeKey seals what a program stores while it talks to the fake. It is the same
// at each start, so that a store outlives the fake.
const fakeKey = "mxm fake: only for development!!"

func runFake(ctx context.Context, args []string, s streams) error {
	o, err := parseFake(args, s)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", o.addr)
	if err != nil {
		return err
	}
	if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		fmt.Fprintln(s.err, "mxm fake: warning: other machines can reach this server, and anybody can sign in there as anybody")
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
	first, redirect := o.clients[0], o.redirects[0]
	fmt.Fprintf(s.out, `BaseURL:      %q,
ClientID:     %q,
ClientSecret: %q,
RedirectURL:  %q,
APIOrigins:   []string{%q},
Keys:         [][]byte{[]byte(%q)},

MXM_BASE_URL='%s' MXM_CLIENT_ID='%s' MXM_CLIENT_SECRET='%s' MXM_REDIRECT_URL='%s' MXM_API_URL='%s' MXM_KEYS='%s'
`, base, first.id, first.secret, redirect, srv.APIURL(), fakeKey,
		base, first.id, first.secret, redirect, srv.APIURL(), base64.StdEncoding.EncodeToString([]byte(fakeKey)))
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	srv.Close()
	return nil
}
