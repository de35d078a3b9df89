// Command worker shows a job that acts for users who are not there. It calls the API
// once for each user with the user's own tokens, a few users at a time. Run it
// from cron or a queue, with the store of the web application.
//
// With the argument maintain it stays instead, and keeps alive the connections that
// nobody uses. One such process is enough; more do no harm.
//
// It runs offline, with invented users. Against Musixmatch it needs MXM_CLIENT_ID
// and MXM_CLIENT_SECRET, the web application's MXM_STORE and MXM_KEYS, the API in
// MXM_API_URL, and the Musixmatch user IDs from your database in MXM_USERS,
// separated by commas.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mxmconnect/mxmconnect/core"
	"github.com/mxmconnect/mxmconnect/internal/setup"
	"github.com/mxmconnect/mxmconnect/internal/stores"
)

const (
	atOnce = 4 // users, so as not to flood the API and Musixmatch
	grace  = 45 * time.Second
)

func main() { setup.Main(run) }

func run(ctx context.Context, log *slog.Logger) (err error) {
	var env setup.Environment
	cfg, fake := env.Musixmatch("") // nobody signs in here
	maintain := len(os.Args) == 2 && os.Args[1] == "maintain"
	users := strings.FieldsFunc(os.Getenv("MXM_USERS"), func(r rune) bool { return r == ',' || r == ' ' })
	apiURL := os.Getenv("MXM_API_URL")
	storeURL := env.Get("MXM_STORE", stores.Memory)
	cfg.Keys = env.Keys("MXM_KEYS")
	switch {
	case fake != nil:
		defer fake.Close()
		apiURL, storeURL, cfg.Keys = fake.APIURL(), stores.Memory, setup.RandomKeys()
	case len(users) == 0 && !maintain:
		env.Reject("MXM_USERS", "is required: the Musixmatch user IDs to act for, separated by commas")
	case apiURL == "" && !maintain:
		env.Reject("MXM_API_URL", "is required: the API to call")
	case storeURL == stores.Memory:
		env.Reject("MXM_STORE", "must be the store of the web application, where the tokens are")
	case cfg.Keys == nil:
		env.Reject("MXM_KEYS", "must be the keys of the web application")
	}
	if apiURL != "" {
		cfg.APIOrigins = []string{env.Origin("MXM_API_URL", apiURL)}
	}
	if err := env.Err(); err != nil {
		return err
	}
	store, closeStore, err := stores.Open(ctx, storeURL)
	if err != nil {
		return &setup.Mistake{Variable: "MXM_STORE", Problem: err.Error()}
	}
	defer closeStore()
	cfg.Grants = store
	cfg.Logger = log
	auth, err := setup.NewAuth(cfg)
	if err != nil {
		return err
	}
	// A refresh that this job began must be stored before the process ends, even
	// if a signal stops the job.
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		err = errors.Join(err, auth.Close(closing))
	}()
	setup.Announce(log, fake)
	if fake != nil {
		if users, err = inventUsers(ctx, auth, fake); err != nil {
			return err
		}
	}
	if maintain {
		err = auth.Maintain(ctx, core.Maintenance{OnSweep: reportSweep})
	} else {
		j := job{auth: auth, url: strings.TrimRight(apiURL, "/") + "/whoami"}
		j.run(ctx, users)
		j.report()
	}
	if fake != nil {
		fmt.Println("\nThat was offline. What the real one needs: go doc ./examples/worker")
	}
	return err
}

func reportSweep(_ context.Context, s core.Sweep) {
	fmt.Printf("Swept in %v: %d connections are live, %d wait for a new sign-in. Refreshed %d, failed for %d.\n",
		s.Took.Round(time.Millisecond), s.Live, s.Reconnect, s.Refreshed, s.Failures)
}

// outcome is the result for one user.
type outcome int

const (
	done      outcome = iota
	reconnect         // only the user can help: ask, once, by mail or at the next visit
	later             // nobody's fault; the next run tries again
)

type job struct {
	auth     *core.Auth
	url      string
	users    []string
	outcomes []outcome // in the order of users
}

func (j *job) run(ctx context.Context, users []string) {
	j.users, j.outcomes = users, make([]outcome, len(users))
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, user := range users {
		group.Go(func() error {
			j.outcomes[i] = j.act(ctx, user)
			return nil // one user's failure is not the others'
		})
	}
	_ = group.Wait()
}

// act does the work for one user. It does not handle tokens: Client refreshes them
// when they are due, once, whatever else runs.
func (j *job) act(ctx context.Context, user string) outcome {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, j.url, nil)
	if err != nil {
		return later
	}
	res, err := j.auth.Client(ctx, user).Do(req)
	switch {
	case errors.Is(err, core.ErrReconnect):
		return reconnect
	case err != nil:
		return later
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return later
	}
	return done
}

func (j *job) report() {
	by := map[outcome][]string{}
	for i, o := range j.outcomes {
		by[o] = append(by[o], j.users[i])
	}
	fmt.Printf("Acted for %d of %d users.\n", len(by[done]), len(j.users))
	if users := by[reconnect]; len(users) > 0 {
		fmt.Println("Please ask these to sign in with Musixmatch again:")
		fmt.Println("  " + strings.Join(users, "\n  "))
	}
	if users := by[later]; len(users) > 0 {
		fmt.Println("These failed this time; run it again:")
		fmt.Println("  " + strings.Join(users, "\n  "))
	}
}
