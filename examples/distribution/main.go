// Command distribution shows a distributor's backend. It acts as the application, not
// as a user: it claims an artist and submits lyrics by ISRC. It shows progress,
// waits when the API says so, and ends with a report.
//
// It runs offline against a fake partner API that is sometimes busy. Musixmatch
// documents two generations of the real one:
//
//   - https://varco-{partner}.musixmatch.com takes the application's own token. Set
//     MXM_PARTNER_URL to it, MXM_CLIENT_ID and MXM_CLIENT_SECRET.
//   - https://api.musixmatch.com/ws/1.1/ takes a key, and the user in the query. Set
//     MXM_API_KEY alone. No artist is claimed: the delivery of a release does so.
//
// For both, set MXM_USER_ID, the artist's Musixmatch user ID from a sign-in, and
// name a catalogue:
//
//	go run ./examples/distribution catalogue.json
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/mxmconnect/mxmconnect/internal/setup"
)

//go:embed catalogue.json
var sample []byte

// catalogue is what is to be delivered.
type catalogue struct {
	Artist artist  `json:"artist"`
	Tracks []track `json:"tracks"`
}

type artist struct {
	PartnerUserID   string `json:"partner_user_id"`
	PartnerArtistID string `json:"partner_artist_id"`
	SpotifyArtistID string `json:"spotify_artist_id"`
}

type track struct {
	ISRC   string `json:"isrc"`
	Title  string `json:"title"`
	Lyrics string `json:"lyrics"`
}

func main() { setup.Main(run) }

func run(ctx context.Context, log *slog.Logger) error {
	if key := os.Getenv("MXM_API_KEY"); key != "" {
		p, err := keyPartnerFromEnvironment(key)
		if err != nil {
			return err
		}
		return deliver(ctx, p)
	}
	var env setup.Environment
	cfg, fake := env.Musixmatch("") // nobody signs in here
	var partnerURL, user string
	if fake != nil {
		defer fake.Close()
		partner := newFakePartner(fake.APIURL())
		defer partner.Close()
		partnerURL, user = partner.URL, "mxm:100000000000000000001"
	} else {
		user = userID(&env)
		if partnerURL = os.Getenv("MXM_PARTNER_URL"); partnerURL == "" {
			env.Reject("MXM_PARTNER_URL", "is required: https://varco-{partner}.musixmatch.com")
		}
	}
	cfg.APIOrigins = []string{env.Origin("MXM_PARTNER_URL", partnerURL)}
	if err := env.Err(); err != nil {
		return err
	}
	cfg.Logger = log
	auth, err := setup.NewAuth(cfg)
	if err != nil {
		return err
	}
	setup.Announce(log, fake)

	// The client gets the application's own token when it first needs one,
	// caches it, and renews it before it expires.
	p := &partner{client: auth.AppClient(ctx), base: partnerURL, userID: user, say: os.Stdout}
	if err := deliver(ctx, p); err != nil || fake == nil {
		return err
	}
	fmt.Println("\nThe same lyrics, with an API key:")
	if err := deliver(ctx, keyPartner(partnerURL, "offline", user)); err != nil {
		return err
	}
	fmt.Println("\nThat was offline. What the real one needs: go doc ./examples/distribution")
	return nil
}

func userID(env *setup.Environment) string {
	id := os.Getenv("MXM_USER_ID")
	if id == "" {
		env.Reject("MXM_USER_ID", "is required: the artist's Musixmatch user ID, from a sign-in")
	}
	return id
}

// deliver delivers the catalogue that the command line names.
func deliver(ctx context.Context, p *partner) error {
	work, err := readCatalogue(os.Args[1:])
	if err != nil {
		return err
	}
	if !p.deliver(ctx, work) {
		return errors.New("not everything was delivered; the report says what")
	}
	return nil
}

func readCatalogue(args []string) (c catalogue, err error) {
	data := sample
	if len(args) > 1 {
		return c, errors.New("usage: distribution [catalogue.json]")
	}
	if len(args) == 1 {
		if data, err = os.ReadFile(args[0]); err != nil {
			return c, err
		}
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("cannot read the catalogue: %w", err)
	}
	return c, nil
}
