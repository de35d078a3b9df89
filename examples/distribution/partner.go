package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// The paths of the partner API. Compare them with your documentation.
const (
	claimPath  = "/distribution/artist/claim"
	lyricsPath = "/distribution/lyrics"

	attempts  = 5
	maxWait   = time.Minute // that a Retry-After may ask for
	timeout   = 30 * time.Second
	maxAnswer = 1 << 20
)

var isrc = regexp.MustCompile(`^[A-Z]{2}-?[A-Z\d]{3}-?\d{2}-?\d{5}$`)

// partner is a client of the distribution API.
type partner struct {
	client *http.Client
	base   string
	userID string
	say    io.Writer // progress and report, for people
}

// deliver claims the artist, submits every track, and reports whether all of it
// succeeded. A track that fails does not stop the others; a failed claim does.
func (p *partner) deliver(ctx context.Context, work catalogue) bool {
	var claimed struct {
		IDs []json.RawMessage `json:"claim_id_list"`
	}
	p.printf("Claiming the artist %s for %s", work.Artist.PartnerArtistID, p.userID)
	err := p.post(ctx, claimPath, map[string]any{
		"musixmatch_user_id": p.userID,
		"partner_user_id":    work.Artist.PartnerUserID,
		"artist":             []map[string]string{{"spotify_artist_id": work.Artist.SpotifyArtistID, "partner_artist_id": work.Artist.PartnerArtistID}},
	}, &claimed)
	if err != nil {
		p.printf("  failed: %v", err)
		p.printf("\nNothing was delivered.")
		return false
	}
	p.printf("  claimed: %s", bytes.Join(rawBytes(claimed.IDs), []byte(", ")))

	var failed []string
	for i, t := range work.Tracks {
		p.printf("[%d/%d] %s, %s", i+1, len(work.Tracks), t.ISRC, t.Title)
		id, err := p.submit(ctx, t)
		if err != nil {
			p.printf("  failed: %v", err)
			failed = append(failed, fmt.Sprintf("%s: %v", t.ISRC, err))
			continue
		}
		p.printf("  submitted: %s", id)
	}
	p.printf("\nThe artist is claimed. Lyrics: %d submitted, %d failed.", len(work.Tracks)-len(failed), len(failed))
	for _, line := range failed {
		p.printf("  %s", line)
	}
	return len(failed) == 0
}

func (p *partner) submit(ctx context.Context, t track) (requestID string, err error) {
	switch {
	case !isrc.MatchString(t.ISRC):
		return "", errors.New("not an ISRC; one looks like QZES72500001")
	case strings.TrimSpace(t.Lyrics) == "":
		return "", errors.New("there are no lyrics")
	}
	var answer struct {
		ID json.RawMessage `json:"lyrics_request_id"`
	}
	err = p.post(ctx, lyricsPath, map[string]string{"musixmatch_user_id": p.userID, "isrc": t.ISRC, "lyrics": t.Lyrics}, &answer)
	return string(answer.ID), err
}

// post sends one request until the API accepts or refuses it. It repeats the
// request only after a 429 or 503. After a lost answer nobody knows whether the
// request counted, so post does not repeat it.
func (p *partner) post(ctx context.Context, path string, body, answer any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	for attempt := 1; ; attempt++ {
		status, wait, err := p.try(ctx, path, data, answer)
		busy := status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
		if err == nil || !busy || attempt == attempts {
			return err
		}
		if wait == 0 {
			wait = time.Second << (attempt - 1)
		}
		wait = min(wait, maxWait)
		p.printf("  busy, again in %s", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return errors.New("interrupted")
		}
	}
}

func (p *partner) try(ctx context.Context, path string, data []byte, answer any) (status int, retryAfter time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// A bytes.Reader can be read again, which a 401 may make necessary.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.base+path, bytes.NewReader(data))
	if err != nil {
		return 0, 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := p.client.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer res.Body.Close()
	if seconds, err := strconv.ParseUint(res.Header.Get("Retry-After"), 10, 16); err == nil {
		retryAfter = time.Duration(seconds) * time.Second
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	switch {
	case res.StatusCode/100 != 2:
		return res.StatusCode, retryAfter, fmt.Errorf("the API answers %s", res.Status)
	case err != nil:
		return 0, 0, errors.New("the answer broke off; find out whether it counted before you send it again")
	case json.Unmarshal(text, answer) != nil:
		return 0, 0, errors.New("the answer cannot be read; find out whether it counted before you send it again")
	}
	return res.StatusCode, 0, nil
}

func (p *partner) printf(format string, args ...any) { fmt.Fprintf(p.say, format+"\n", args...) }

func rawBytes(list []json.RawMessage) (out [][]byte) {
	for _, b := range list {
		out = append(out, b)
	}
	return out
}
