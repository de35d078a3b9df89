package probe

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// Verdict is what a finding says about the line of the documentation.
type Verdict string

const (
	confirmed Verdict = "confirmed"
	refuted   Verdict = "refuted"
	open      Verdict = "open"
)

func verdict(ok bool) Verdict {
	if ok {
		return confirmed
	}
	return refuted
}

// How a finding is known.
const (
	measured  = "measured"
	announced = "from the discovery document"
)

// Question is something that the documentation of the server leaves open.
type Question struct {
	Key, Text string
	Line      string // of docs/server.md
}

// Questions are in the order of the report.
var Questions = []Question{
	{"rotation", "Does a refresh bring a new refresh token?", "A refresh token works once."},
	{"kill", "Does a refresh end the old access token?", "A refresh ends the login's old access tokens."},
	{"user", "Does it end those of the user's other logins?", "A refresh leaves the user's other logins alone."},
	{"reuse", "Does a replay end the whole login?", "A replay of a spent refresh token ends the whole login."},
	{"grace", "Is there a grace period for replays?", "There is no grace period for a spent refresh token."},
	{"loser", "Does the loser of two refreshes get invalid_grant?", "The loser of two refreshes at once gets `invalid_grant`."},
	{"cut", "Does a refresh that is cut off take place?", "A refresh whose client hangs up takes place."},
	{"single", "Does a second login end the first?", "A second login leaves the first one alone."},
	{"auth", "Does token-metadata want client authentication?", "`token-metadata` wants no client authentication."},
	{"birth", "Does token-metadata know a new token at once?", "`token-metadata` knows a new access token at once."},
	{"death", "Does token-metadata know the end of one at once?", "`token-metadata` knows the end of an access token at once."},
	{"rate", "Does token-metadata limit calls?", "`token-metadata` takes 20 calls in a row."},
	{"lifetime", "How long does an access token live?", "A token response says `expires_in`."},
	{"code", "How long does a code live?", "An authorization code lives 30 seconds or more."},
	{"issuer", "Does the authorization response carry iss?", "The authorization response carries no `iss`."},
	{"revocation", "Is there a revocation endpoint?", "There is no revocation endpoint."},
	{"date", "Do answers carry a Date?", "Every answer carries a `Date` that is right to within a minute."},
}

// Finding is the answer to a question, as far as it is known.
type Finding struct {
	Answer, How string
	Verdict     Verdict
}

// Report is what a run has found. It holds no token and no secret.
type Report struct {
	Findings map[string]Finding // by Question.Key
	Profile  mxmtest.Profile
	Notes    []string

	options       Options
	endpoint      core.Endpoint
	metadataURL   string // if it is not the documented one
	issuerDiffers bool
	scopes        []string
	lifetime      time.Duration
	birth, death  *span
	grace         string // what a replay gets
}

func (r *Report) find(key, answer, how string, v Verdict) {
	if r.Findings == nil {
		r.Findings = map[string]Finding{}
	}
	r.Findings[key] = Finding{answer, how, v}
}

func (r *Report) how(key, how string) {
	f := r.Findings[key]
	f.How = how
	r.Findings[key] = f
}

func (r *Report) note(text string) { r.Notes = append(r.Notes, text) }

// endpoints notes what differs from the documented paths.
func (r *Report) endpoints(p *probe) {
	documented := func(url, path string) string {
		if url == p.BaseURL+path {
			return ""
		}
		return url
	}
	r.endpoint = core.Endpoint{
		Issuer:        p.doc.Issuer,
		AuthURL:       documented(p.authURL, "/oauth/authorize"),
		TokenURL:      documented(p.tokenURL, "/oauth/token"),
		RevocationURL: p.revocationURL,
		IssRequired:   p.doc.IssParameter,
	}
}

// Write writes the report for people: a table, the lines of the documentation, and
// the configuration to use.
func (r *Report) Write(w io.Writer) error {
	var b strings.Builder
	table := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "QUESTION\tFINDING\tHOW IT IS KNOWN")
	for _, q := range Questions {
		f, ok := r.Findings[q.Key]
		if !ok {
			f = Finding{Answer: "not measured", Verdict: open}
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", q.Text, f.Answer, f.How)
	}
	table.Flush()
	fmt.Fprintf(&b, "\nThe lines of docs/server.md:\n")
	for _, q := range Questions {
		v := r.Findings[q.Key].Verdict
		if v == "" {
			v = open
		}
		fmt.Fprintf(&b, "  %-9s  %s\n", v, q.Line)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "\nNote: %s\n", note)
	}
	fmt.Fprintf(&b, "\nThe configuration to use:\n\n%s", r.Config())
	_, err := io.WriteString(w, b.String())
	return err
}

// Config returns Go code for the core.Config that fits the server.
func (r *Report) Config() string {
	var b strings.Builder
	line := func(indent, name, value string) { fmt.Fprintf(&b, "%s%s: %s,\n", indent, name, value) }
	fmt.Fprintf(&b, "core.Config{\n")
	line("\t", "BaseURL", strconv.Quote(r.options.BaseURL))
	line("\t", "ClientID", strconv.Quote(r.options.ClientID))
	line("\t", "ClientSecret", `os.Getenv("MXM_CLIENT_SECRET")`)
	line("\t", "RedirectURL", strconv.Quote(r.options.RedirectURL))
	e := r.endpoint
	if r.issuerDiffers {
		e.Issuer, e.IssRequired = "", false
	}
	if sent := r.Profile.Issuer; sent != nil && !*sent {
		e.IssRequired = false
	}
	e.MetadataURL = r.metadataURL
	if e != (core.Endpoint{}) {
		fmt.Fprintf(&b, "\tEndpoint: core.Endpoint{\n")
		for _, f := range []struct{ name, value string }{
			{"Issuer", e.Issuer}, {"AuthURL", e.AuthURL}, {"TokenURL", e.TokenURL}, {"MetadataURL", e.MetadataURL}, {"RevocationURL", e.RevocationURL},
		} {
			if f.value != "" {
				line("\t\t", f.name, strconv.Quote(f.value))
			}
		}
		if e.IssRequired {
			line("\t\t", "IssRequired", "true")
		}
		fmt.Fprintf(&b, "\t},\n")
	}
	if len(r.scopes) > 0 {
		line("\t", "Scopes", fmt.Sprintf("%#v", r.scopes))
	}
	if t, why := r.refreshTimeout(); t > 0 {
		fmt.Fprintf(&b, "\tRefreshTimeout: %d * time.Second, // %s\n", t/time.Second, why)
	}
	fmt.Fprintf(&b, "}\n")
	return b.String()
}

// refreshTimeout returns a RefreshTimeout other than the default, or 0. Half of it
// is how long package core waits before it believes token-metadata.
func (r *Report) refreshTimeout() (time.Duration, string) {
	const standard, longest = 30 * time.Second, 5 * time.Minute
	lag := time.Duration(0)
	for _, s := range []*span{r.birth, r.death} {
		if s != nil {
			lag = max(lag, s.low, s.lag())
		}
	}
	need := (2 * lag).Truncate(time.Second) + time.Second
	if need <= standard {
		return 0, ""
	}
	return min(need, longest), "token-metadata is late by up to " + lag.Round(time.Second).String()
}

// ProfileJSON returns the profile that mxm fake and mxmtest replay.
func (r *Report) ProfileJSON() ([]byte, error) {
	p := r.Profile
	p.Note = "mxm probe of " + r.options.BaseURL + ". What is missing was not found out."
	text, err := json.MarshalIndent(p, "", "  ")
	return append(text, '\n'), err
}
