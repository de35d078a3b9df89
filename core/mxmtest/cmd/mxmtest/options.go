package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

type credentials struct{ id, secret string }

type options struct {
	addr, base string
	clients    []credentials
	redirects  []string
	user       string
	settings   mxmtest.Settings
}

func parse(args []string, out io.Writer) (options, error) {
	o := options{settings: mxmtest.DefaultSettings()}
	o.settings.KeepRequests = 1000 // nobody can ask this process for them
	var first, second credentials

	f := flag.NewFlagSet("mxmtest", flag.ContinueOnError)
	f.SetOutput(out)
	f.Usage = func() {} // so that a wrong flag is one line
	f.StringVar(&o.addr, "addr", "127.0.0.1:9090", "listen `address`; port 0 picks a free one")
	f.StringVar(&o.base, "base-url", "", "base `URL` and issuer, if it is not http://ADDRESS")
	f.StringVar(&first.id, "client-id", mxmtest.DefaultClientID, "client `ID`")
	f.StringVar(&first.secret, "client-secret", mxmtest.DefaultClientSecret, "client `secret`")
	f.Func("second-client", "a second client, as `ID:SECRET`, with the same redirect URIs", func(v string) error {
		var ok bool
		if second.id, second.secret, ok = strings.Cut(v, ":"); !ok || second.id == "" || second.secret == "" {
			return errors.New("want ID:SECRET")
		}
		return nil
	})
	f.Func("redirect-uri", "registered redirect `URI`; repeat it, or separate with commas (default http://localhost:8080"+mxmtest.CallbackPath+")", func(v string) error {
		for _, uri := range strings.Split(v, ",") {
			if u, err := url.Parse(uri); err != nil || !u.IsAbs() || u.Fragment != "" {
				return errors.New("want an absolute URI without a fragment")
			}
			o.redirects = append(o.redirects, uri)
		}
		return nil
	})
	f.StringVar(&o.user, "user", "", "sign in this `user ID` at once instead of showing the sign-in page")

	s := &o.settings
	f.DurationVar(&s.CodeLifetime, "code-lifetime", s.CodeLifetime, "`lifetime` of an authorization code")
	f.DurationVar(&s.AccessLifetime, "access-lifetime", s.AccessLifetime, "`lifetime` of an access token")
	f.DurationVar(&s.RefreshLifetime, "refresh-lifetime", s.RefreshLifetime, "`lifetime` of a refresh token")
	choice(f, "reuse", "what a spent refresh token ends, as a `policy`: revoke (the whole family) or plain (nothing)", "revoke", &s.Reuse,
		map[string]mxmtest.ReusePolicy{"revoke": mxmtest.RevokeFamily, "plain": mxmtest.Plain})
	f.DurationVar(&s.Grace, "grace", 0, "how `long` the newest spent refresh token may be replayed for the same answer")
	f.BoolVar(&s.LoserInvalidRequest, "loser-invalid-request", false, "answer invalid_request to the loser of two simultaneous refreshes")
	choice(f, "kill", "whose access tokens a refresh kills, as a `scope`: login, user (and client) or none", "login", &s.Kill,
		map[string]mxmtest.KillScope{"login": mxmtest.PerLogin, "user": mxmtest.PerUser, "none": mxmtest.KillNone})
	f.BoolVar(&s.NoRotation, "no-rotation", false, "answer a refresh without a new refresh token")
	f.BoolVar(&s.SingleLogin, "single-login", false, "let a login end the same user's earlier ones")
	f.BoolVar(&s.Issuer, "iss", false, "send iss in the authorization response (RFC 9207)")
	f.BoolVar(&s.Revocation, "revocation", false, "open the revocation endpoint (RFC 7009)")

	err := f.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, "Runs a fake Musixmatch for tests and offline work. Prints its base URL and serves until interrupted.\n\n")
		f.PrintDefaults()
		return o, err
	case err != nil:
		fmt.Fprintln(out, "mxmtest: -h explains every flag")
		return o, err
	}
	switch {
	case f.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", f.Arg(0))
	case first.id == "" || first.secret == "":
		err = errors.New("-client-id and -client-secret must not be empty")
	case second.id == first.id:
		err = errors.New("-second-client must have another ID than the first")
	}
	if err != nil {
		fmt.Fprintln(out, "mxmtest:", err)
		return o, err
	}
	o.clients = []credentials{first}
	if second.id != "" {
		o.clients = append(o.clients, second)
	}
	if len(o.redirects) == 0 {
		o.redirects = []string{"http://localhost:8080" + mxmtest.CallbackPath}
	}
	return o, nil
}

// choice defines a flag that takes one of a few words.
func choice[T any](f *flag.FlagSet, name, usage, value string, to *T, words map[string]T) {
	f.Func(name, usage+" (default "+value+")", func(v string) error {
		chosen, ok := words[v]
		if !ok {
			return errors.New("unknown value; -h lists the values")
		}
		*to = chosen
		return nil
	})
}
