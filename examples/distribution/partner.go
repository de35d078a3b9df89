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

// The paths of the two generations. Compare them with your documentation.
const (
	claimPath       = "/distribution/artist/claim"
	lyricsPath      = "/distribution/lyrics"
	keyedLyricsPath = "/distribution.lyrics.post"

	attempts  = 5
	maxWait   = time.Minute // that a Retry-After may ask for
	timeout   = 30 * time.Second
	maxAnswer = 1 << 20
)

var (
	isrc          = regexp.MustCompile(`^[A-Z]{2}-?[A-Z\d]{3}-?\d{2}-?\d{5}$`)
	errUnreadable = errors.New("the answer cannot be read; find out whether it counted before you send it again")
)

// partner is a client of the distribution API.
type partner struct {
	client *http.Client
	base   string
	userID string    // for the bodies; empty if client adds it to the query
	say    io.Writer // progress and report, for people
}

// deliver submits every track, and reports whether all of it succeeded. A track
// that fails does not stop the others. Before that, deliver claims the artist;
// where a key is used, the delivery of a release does so.
func (p *partner) deliver(ctx context.Context, work catalogue) bool {
	if p.userID != "" {
		p.printf("Claiming the artist %s for %s", work.Artist.PartnerArtistID, p.userID)
		ids, err := p.claim(ctx, work.Artist)
		if err != nil {
			p.printf("  failed: %v", err)
			p.printf("\nNothing was delivered.")
			return false
		}
		p.printf("  claimed: %s", ids)
	}

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
	p.printf("\nLyrics: %d submitted, %d failed.", len(work.Tracks)-len(failed), len(failed))
	for _, line := range failed {
		p.printf("  %s", line)
	}
	return len(failed) == 0
}

func (p *partner) claim(ctx context.Context, a artist) (ids json.RawMessage, err error) {
	var answer struct {
		Claim struct {
			IDs json.RawMessage `json:"claim_id_list"`
		} `json:"artist_claim"`
	}
	err = p.post(ctx, claimPath, map[string]any{
		"musixmatch_user_id": p.userID,
		"partner_user_id":    a.PartnerUserID,
		"artist":             []map[string]string{{"spotify_artist_id": a.SpotifyArtistID, "partner_artist_id": a.PartnerArtistID}},
	}, &answer)
	if err == nil && answer.Claim.IDs == nil {
		err = errUnreadable
	}
	return answer.Claim.IDs, err
}

func (p *partner) submit(ctx context.Context, t track) (requestID json.RawMessage, err error) {
	switch {
	case !isrc.MatchString(t.ISRC):
		return nil, errors.New("not an ISRC; one looks like QZES72500001")
	case strings.TrimSpace(t.Lyrics) == "":
		return nil, errors.New("there are no lyrics")
	}
	path, body := keyedLyricsPath, map[string]string{"isrc": t.ISRC, "lyrics": t.Lyrics}
	if p.userID != "" {
		path, body["musixmatch_user_id"] = lyricsPath, p.userID
	}
	var answer struct {
		Lyrics struct {
			ID json.RawMessage `json:"lyrics_request_id"`
		}
	}
	err = p.post(ctx, path, body, &answer)
	if err == nil && answer.Lyrics.ID == nil {
		err = errUnreadable
	}
	return answer.Lyrics.ID, err
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
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(p.base, "/")+path, bytes.NewReader(data))
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
	var envelope struct {
		Message struct {
			Header struct {
				StatusCode int `json:"status_code"`
			}
			Body json.RawMessage
		}
	}
	unreadable := json.Unmarshal(text, &envelope)
	status = res.StatusCode
	if inner := envelope.Message.Header.StatusCode; status == http.StatusOK && inner != 0 {
		status = inner
	}
	switch {
	case status/100 != 2: // in our words, since a server may repeat what it was sent
		return status, retryAfter, fmt.Errorf("the API answers %d %s", status, http.StatusText(status))
	case err != nil:
		return 0, 0, errors.New("the answer broke off; find out whether it counted before you send it again")
	case unreadable != nil || json.Unmarshal(envelope.Message.Body, answer) != nil:
		return 0, 0, errUnreadable
	}
	return status, 0, nil
}

func (p *partner) printf(format string, args ...any) { fmt.Fprintf(p.say, format+"\n", args...) }
