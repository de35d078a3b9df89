package main

import (
	"errors"
	"flag"
	"net/url"
	"os"
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

func parseFake(args []string, s streams) (options, error) {
	o := options{settings: mxmtest.DefaultSettings()}
	o.settings.KeepRequests = 1000 // nobody can ask this process for them
	var first, second credentials

	f := flag.NewFlagSet("fake", flag.ContinueOnError)
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

	p := &o.settings
	f.Func("profile", "`FILE` of policies to replay, as mxm probe writes it", func(v string) error {
		text, err := os.ReadFile(v)
		if err != nil {
			return err
		}
		profile, err := mxmtest.ParseProfile(text)
		profile.Configure(p)
		return err
	})
	f.DurationVar(&p.CodeLifetime, "code-lifetime", p.CodeLifetime, "`lifetime` of an authorization code")
	f.DurationVar(&p.AccessLifetime, "access-lifetime", p.AccessLifetime, "`lifetime` of an access token")
	f.DurationVar(&p.RefreshLifetime, "refresh-lifetime", p.RefreshLifetime, "`lifetime` of a refresh token")
	choice(f, "reuse", "what a spent refresh token ends, as a `policy`: revoke (the whole family) or plain (nothing)", "revoke", &p.Reuse,
		map[string]mxmtest.ReusePolicy{"revoke": mxmtest.RevokeFamily, "plain": mxmtest.Plain})
	f.DurationVar(&p.Grace, "grace", 0, "how `long` the newest spent refresh token may be replayed for the same answer")
	f.BoolVar(&p.LoserInvalidRequest, "loser-invalid-request", false, "answer invalid_request to the loser of two simultaneous refreshes")
	choice(f, "kill", "whose access tokens a refresh kills, as a `scope`: login, user (and client) or none", "login", &p.Kill,
		map[string]mxmtest.KillScope{"login": mxmtest.PerLogin, "user": mxmtest.PerUser, "none": mxmtest.KillNone})
	f.BoolVar(&p.NoRotation, "no-rotation", false, "answer a refresh without a new refresh token")
	f.BoolVar(&p.SingleLogin, "single-login", false, "let a login end the same user's earlier ones")
	f.BoolVar(&p.Issuer, "iss", false, "send iss in the authorization response (RFC 9207)")
	f.BoolVar(&p.Revocation, "revocation", false, "open the revocation endpoint (RFC 7009)")

	if err := parse(f, args, s, fakeHelp); err != nil {
		return o, err
	}
	switch {
	case first.id == "" || first.secret == "":
		return o, usageError{errors.New("-client-id and -client-secret must not be empty")}
	case second.id == first.id:
		return o, usageError{errors.New("-second-client must have another ID than the first")}
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
