package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/internal/probe"
	"github.com/mxmconnect/mxmconnect/internal/setup"
)

const probeHelp = `mxm probe measures what Musixmatch's documentation leaves open (docs/server.md), with a test user of your own, who
signs in a few times. It may cost every connection of that user under this client, so it asks you to type the client ID.

You sign in with a browser, on this machine: the redirect URL must be on loopback (http), registered, and free, so stop
your application first. With -paste any registered redirect URL does: you paste the address at which the browser
arrives. With -follow there is no browser: for servers that sign a test user in without a page.

It prints what it has found, which lines of docs/server.md that confirms or refutes, and the core.Config to use. It
writes a profile for mxm fake -profile and mxmtest's Server.Apply. It prints no token.

It reads MXM_CLIENT_ID, MXM_CLIENT_SECRET, MXM_REDIRECT_URL, MXM_BASE_URL and MXM_API_URL, as the examples do.`

type probeFlags struct {
	follow, paste bool
	yes, profile  string
	scopes        string
	options       probe.Options
}

func runProbe(ctx context.Context, args []string, s streams) error {
	var p probeFlags
	f := flag.NewFlagSet("probe", flag.ContinueOnError)
	f.BoolVar(&p.follow, "follow", false, "follow the server's redirects instead of using a browser")
	f.BoolVar(&p.paste, "paste", false, "read the address at which the browser arrives from standard input")
	f.StringVar(&p.yes, "yes", "", "the client `ID`, for scripts: do not ask for it")
	f.StringVar(&p.profile, "profile", "mxm-profile.json", "`FILE` to write the profile to")
	f.StringVar(&p.scopes, "scope", "", "`scopes` to ask for besides profile and email, separated by spaces")
	f.DurationVar(&p.options.Patience, "patience", 10*time.Second, "how `long` token-metadata may be late")
	f.DurationVar(&p.options.Grace, "grace", 0, "measure a grace period up to this `long`, by at most 20 refreshes, such as 2m")
	f.DurationVar(&p.options.Codes, "codes", 0, "measure the lifetime of codes up to this `long`, by 8 more sign-ins, such as 10m")
	f.BoolVar(&p.options.Rate, "rate", false, "see whether token-metadata limits calls, by at most 20 of them")
	f.StringVar(&p.options.AuthURL, "authorize-url", "", "authorization endpoint, if the server does not say and it is not as documented; a `URL`")
	f.StringVar(&p.options.TokenURL, "token-url", "", "token endpoint, likewise; a `URL`")
	f.StringVar(&p.options.MetadataURL, "metadata-url", "", "token-metadata, or an introspection endpoint (RFC 7662); a `URL`")
	f.StringVar(&p.options.APIURL, "api-url", "", "a `URL` that answers 200 or 401 to a GET with a user's token (default MXM_API_URL/whoami)")
	if err := parse(f, args, s, probeHelp); err != nil {
		return err
	}
	if p.follow && p.paste {
		return usageError{errors.New("-follow and -paste exclude each other")}
	}
	if err := p.readEnvironment(); err != nil {
		return usageError{err}
	}
	in := bufio.NewReader(s.in)
	if err := p.confirm(in, s.out); err != nil {
		return err
	}
	return p.run(ctx, in, s)
}

func (p *probeFlags) readEnvironment() error {
	var env setup.Environment
	cfg := core.Config{
		ClientID:     os.Getenv("MXM_CLIENT_ID"),
		ClientSecret: os.Getenv("MXM_CLIENT_SECRET"),
		RedirectURL:  env.RedirectURL("http://localhost:8080"),
		BaseURL:      strings.TrimRight(env.Get("MXM_BASE_URL", "https://connect.musixmatch.com"), "/"),
	}
	api := os.Getenv("MXM_API_URL")
	if api != "" {
		cfg.APIOrigins = []string{env.Origin("MXM_API_URL", api)}
	}
	if err := env.Err(); err != nil {
		return err
	}
	if _, err := setup.NewAuth(cfg); err != nil {
		return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	o := &p.options
	o.BaseURL, o.ClientID, o.ClientSecret, o.RedirectURL = cfg.BaseURL, cfg.ClientID, cfg.ClientSecret, cfg.RedirectURL
	o.Scopes = strings.Fields(p.scopes)
	if api != "" {
		o.APIURL = cmp.Or(o.APIURL, strings.TrimRight(api, "/")+"/whoami")
	}
	return nil
}

// confirm says what the probe costs, and lets people type the client ID.
func (p *probeFlags) confirm(in *bufio.Reader, out io.Writer) error {
	o := p.options
	fmt.Fprintf(out, `This probes %s as the client %s.
It wants up to %d sign-ins, always of the same user: a test user of your own, never a customer.
It may end every connection of that user under this client.
`, o.BaseURL, o.ClientID, o.SignIns())
	if p.yes == "" {
		fmt.Fprint(out, "Type the client ID to go on: ")
		line, err := in.ReadString('\n')
		if err != nil && line == "" {
			return errors.New("nobody typed the client ID")
		}
		p.yes = strings.TrimSpace(line)
	}
	if p.yes != o.ClientID {
		return errors.New("that is not the client ID; nothing has been done")
	}
	return nil
}

func (p *probeFlags) run(ctx context.Context, in *bufio.Reader, s streams) error {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	o := p.options
	o.Transport = transport
	o.Progress = func(text string) { fmt.Fprintln(s.out, text) }
	if p.follow {
		o.SignIn = probe.Follow(transport, o.RedirectURL)
	} else {
		browser, err := probe.NewBrowser(o.RedirectURL, p.paste)
		if err != nil {
			return err
		}
		defer browser.Close()
		fmt.Fprintf(s.out, "Open %s in a browser on this machine, and sign in as the test user.\n", browser.URL)
		o.SignIn = browser.SignIn
		if p.paste {
			o.SignIn = pasting(browser, in, s.out, o.RedirectURL)
		}
	}
	report, err := probe.Run(ctx, o)
	if len(report.Findings) == 0 {
		return err
	}
	if err != nil {
		fmt.Fprintf(s.out, "\nThe probe stopped early: %v.\n", err)
	}
	fmt.Fprintln(s.out)
	if werr := report.Write(s.out); werr != nil {
		return werr
	}
	profile, perr := report.ProfileJSON()
	if perr == nil {
		perr = os.WriteFile(p.profile, profile, 0o644)
	}
	if perr != nil {
		return perr
	}
	fmt.Fprintf(s.out, "\nThe profile is in %s. Replay it: mxm fake -profile %[1]s\n", p.profile)
	if err != nil {
		return errFailed
	}
	return nil
}

// pasting lets people bring the address at which their browser arrives.
func pasting(b *probe.Browser, in *bufio.Reader, out io.Writer, redirectURL string) probe.SignIn {
	return func(_ context.Context, authorizationURL string) (probe.Arrival, error) {
		b.Want(authorizationURL)
		for {
			fmt.Fprintf(out, "Load %s again, sign in, and paste the address of the page where you arrive: ", b.URL)
			line, err := in.ReadString('\n')
			if err != nil && line == "" {
				return probe.Arrival{}, errors.New("nothing was pasted")
			}
			a, err := probe.Pasted(line, redirectURL)
			if err == nil {
				return a, nil
			}
			fmt.Fprintln(out, err)
		}
	}
}
