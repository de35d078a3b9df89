package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mxmconnect/mxmconnect/internal/doctor"
)

const doctorHelp = `mxm doctor checks a configuration without a user: the server's discovery document, TLS, its clock against this
machine's, client ID and secret, the redirect URL, the callback of the application if that is running, the API, the
store and the keys. Each check is a line: its verdict, what was tried, what came, and what to do.

It reads the environment of the examples: MXM_CLIENT_ID, MXM_CLIENT_SECRET, MXM_REDIRECT_URL, MXM_BASE_URL, MXM_API_URL,
MXM_STORE, MXM_KEYS, MXM_REFRESH_TIMEOUT, ADDR.

It writes one record to the store and deletes it again. A store that is new gets its tables, as at an application's
start. At Musixmatch it asks for a client-credentials token and begins a sign-in that nobody ends.

The exit status is 0 if nothing is wrong, 1 if something is, and 2 after a wrong call.`

func runDoctor(ctx context.Context, args []string, s streams) error {
	f := flag.NewFlagSet("doctor", flag.ContinueOnError)
	asJSON := f.Bool("json", false, "write a JSON array, an object for each check")
	patience := f.Duration("timeout", 10*time.Second, "how `long` one answer may take")
	if err := parse(f, args, s, doctorHelp); err != nil {
		return err
	}
	findings := doctor.Examine(ctx, *patience)
	if *asJSON {
		e := json.NewEncoder(s.out)
		e.SetIndent("", "  ")
		if err := e.Encode(findings); err != nil {
			return err
		}
	} else {
		for _, x := range findings {
			line := fmt.Sprintf("%-7s  %-14s  %s: %s. %s", x.Verdict, x.Check, x.Tried, x.Came, x.Do)
			fmt.Fprintln(s.out, strings.TrimSpace(line))
		}
	}
	if slices.ContainsFunc(findings, func(x doctor.Finding) bool { return x.Verdict == doctor.Wrong }) {
		return errFailed
	}
	return nil
}
