package probe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

const (
	racers     = 4  // refreshes at once
	callBudget = 20 // calls of a measurement that is asked for
	codeSteps  = 8  // sign-ins that measure how long a code lives
	finest     = 30 // the longest time that is looked for, by the shortest
)

// ages are n moments at which something is tried, from limit/finest to limit.
func ages(limit time.Duration, n int) []time.Duration {
	all := make([]time.Duration, n)
	for i := range all {
		all[i] = time.Duration(float64(limit) / finest * math.Pow(finest, float64(i)/float64(n-1)))
	}
	return all
}

// readMetadata finds out how token-metadata is asked, and how soon it knows a token.
func (p *probe) readMetadata(ctx context.Context, t *tokens) error {
	waited := false
	for i, d := range p.dialects() {
		p.metadata = &d
		l, err := p.alive(ctx, t.access)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		}
		if !l.alive && !waited {
			waited = true
			if _, l.alive, err = p.watchBirth(ctx, t); err != nil {
				return err
			}
		} else if l.alive && !waited {
			p.noteBirth(span{high: l.received.Sub(t.sent)})
		}
		if !l.alive {
			continue
		}
		p.report.Profile.MetadataAuth = new(d.auth)
		if d.auth {
			p.report.find("auth", "it does", measured, refuted)
		} else {
			p.report.find("auth", "it does not", measured, confirmed)
		}
		if u := d.url; i%dialectsPerURL == 0 && u != p.BaseURL+"/oauth/token-metadata" {
			p.report.metadataURL = u
		} else if i > 0 {
			p.report.note("token-metadata is understood as " + d.String() + " only. Package core asks as documented, and cannot use it.")
		}
		return nil
	}
	p.metadata = nil
	why := "cannot be known: it answers in no way that is known"
	if waited {
		why = "cannot be known: it calls a fresh token inactive, " + p.Patience.String() + " after it was issued"
	}
	p.report.find("auth", why, "", open)
	p.report.find("birth", why, "", open)
	p.report.note("Package core cannot sign anybody in without token-metadata.")
	if p.apiURL != "" {
		p.report.note("Whether an access token lives is asked of " + p.apiURL + " instead.")
	}
	return nil
}

func (d dialect) String() string {
	s := "POST " + d.url + " with " + d.parameter
	if d.get {
		s = "GET " + d.url + " with " + d.parameter
	}
	if d.auth {
		s += " and client authentication"
	}
	return s
}

func (p *probe) watchBirth(ctx context.Context, t *tokens) (span, bool, error) {
	took, ok, err := p.watch(ctx, t.access, true, t.sent, t.received, p.Patience)
	if ok {
		p.noteBirth(took)
	}
	return took, ok, err
}

// noteBirth keeps the longest lag that was seen.
func (p *probe) noteBirth(took span) {
	if p.metadata == nil || p.report.birth != nil && p.report.birth.low >= took.low {
		return
	}
	p.report.birth = &took
	p.report.Profile.BirthLag = duration(took.lag())
	p.report.find("birth", took.lagWords(), measured, verdict(took.low == 0))
}

// lag is the longest that a lag may be; 0 if the first look found none.
func (s span) lag() time.Duration {
	if s.low == 0 {
		return 0
	}
	return s.high
}

func (s span) lagWords() string {
	if s.low == 0 {
		return "yes: at the first look, after " + s.high.Round(time.Millisecond).String()
	}
	return "no: " + s.String() + " later"
}

// measureKill signs the same user in a second time, and then refreshes the first
// login: does that one live, and which access tokens does the refresh end?
func (p *probe) measureKill(ctx context.Context, own *tokens) error {
	other, err := p.signIn(ctx)
	if err != nil {
		return err
	}
	if other.refresh == "" {
		return errors.New("the second sign-in brought no refresh token")
	}
	if p.sees() {
		if _, _, err := p.watchBirth(ctx, other); err != nil {
			return err
		}
	}
	n, err := p.refresh(ctx, own.refresh)
	p.singleLogin = refusedToken(err)
	if p.singleLogin {
		p.report.find("single", "yes", measured, refuted)
		own, other = other, nil
		n, err = p.refresh(ctx, own.refresh)
	} else if err == nil {
		p.report.find("single", "no", measured, confirmed)
	}
	if err != nil {
		return err
	}
	p.report.Profile.SingleLogin = &p.singleLogin

	p.rotates = n.refresh != "" && n.refresh != own.refresh
	p.report.Profile.NoRotation = new(!p.rotates)
	if p.rotates {
		p.report.find("rotation", "yes", measured, confirmed)
	} else {
		p.report.find("rotation", "no: the refresh token stays", measured, refuted)
		n.refresh = own.refresh
	}
	if err := p.judgeKill(ctx, own, other, n); err != nil {
		return err
	}
	if other != nil {
		p.spare = append(p.spare, other)
	}
	p.spare = append(p.spare, n)
	return nil
}

func (p *probe) sees() bool { return p.metadata != nil || p.apiURL != "" }

func (p *probe) judgeKill(ctx context.Context, own, other, n *tokens) error {
	if !p.sees() {
		for _, key := range []string{"kill", "user", "death"} {
			p.report.find(key, "cannot be known: "+errBlind.Error(), "", open)
		}
		return nil
	}
	took, dead, err := p.watch(ctx, own.access, false, n.sent, n.received, p.patienceFor(own))
	if err != nil {
		return err
	}
	late := false
	if !dead && p.metadata != nil && p.apiURL != "" {
		l, err := p.apiTakes(ctx, own.access)
		late = err == nil && !l.alive
	}
	switch {
	case !dead && !late:
		p.killsNone = true
		p.report.Profile.Kill = new(mxmtest.KillNone)
		p.report.find("kill", "no: the old access token lives on, "+took.String(), measured, refuted)
		p.report.find("user", "no", measured, confirmed)
		p.report.find("death", "cannot be known: a refresh ends no access token", "", open)
		return nil
	case late:
		p.report.find("death", "no: the API refuses it, and token-metadata calls it active "+took.String(), measured, refuted)
		p.report.Profile.DeathLag = duration(took.low)
		p.report.death = &took
	case p.metadata == nil:
		p.report.find("death", "cannot be known: "+errBlind.Error(), "", open)
	default:
		p.report.find("death", took.lagWords(), measured, verdict(took.low == 0))
		p.report.Profile.DeathLag = duration(took.lag())
		p.report.death = &took
	}
	p.report.find("kill", "yes", measured, confirmed)
	if other == nil {
		p.report.find("user", "cannot be known: a user has one login only", "", open)
		return nil
	}
	if late {
		l, err := p.apiTakes(ctx, other.access)
		if err != nil {
			return err
		}
		dead = !l.alive
	} else if _, dead, err = p.watch(ctx, other.access, false, n.sent, n.received, took.high*3/2+250*time.Millisecond); err != nil {
		return err
	}
	if dead {
		p.report.Profile.Kill = new(mxmtest.PerUser)
		p.report.find("user", "yes", measured, refuted)
	} else {
		p.report.Profile.Kill = new(mxmtest.PerLogin)
		p.report.find("user", "no", measured, confirmed)
	}
	return nil
}

// patienceFor ends before an access token does by itself.
func (p *probe) patienceFor(t *tokens) time.Duration {
	if t.lifetime == 0 {
		return p.Patience
	}
	return min(p.Patience, max(0, time.Until(t.received.Add(t.lifetime))-time.Second))
}

const notRotated = "cannot be known: no refresh token is ever spent"

// measureReplay refreshes twice with one refresh token.
func (p *probe) measureReplay(ctx context.Context) error {
	if !p.rotates {
		p.report.find("reuse", notRotated, "", open)
		p.report.find("grace", notRotated, "", open)
		return nil
	}
	old, err := p.living(ctx)
	if err != nil {
		return err
	}
	n, err := p.refresh(ctx, old.refresh)
	if err != nil {
		return err
	}
	again, err := p.refresh(ctx, old.refresh)
	switch {
	case refusedToken(err):
		p.report.find("grace", "no: a replay at once is refused with "+err.Error(), measured, confirmed)
		p.report.Profile.Grace = duration(0)
		return p.judgeReuse(ctx, n)
	case err != nil:
		return err
	}
	p.graced = true
	p.report.find("reuse", "not measured: the replay was within the grace period", "", open)
	answer := mxmtest.SamePair
	if again.refresh != "" && again.refresh != n.refresh {
		if answer, err = p.whichLives(ctx, n, again); err != nil {
			return err
		}
	} else {
		p.spare = append(p.spare, n)
	}
	p.report.Profile.GraceAnswer = &answer
	p.report.grace = []string{"the same pair again", "another pair, and the first ends", "another pair, and the first lives on"}[answer]
	p.report.find("grace", "yes, of a length that is not measured (-grace): a replay gets "+p.report.grace, measured, refuted)
	return nil
}

// judgeReuse uses the newest refresh token after a replay that was refused.
func (p *probe) judgeReuse(ctx context.Context, newest *tokens) error {
	t, err := p.refreshed(ctx, newest)
	switch {
	case err == nil:
		p.spare = append(p.spare, t)
		p.report.Profile.Reuse = new(mxmtest.Plain)
		p.report.find("reuse", "no: the newest refresh token lives on", measured, refuted)
	case refusedToken(err):
		p.report.Profile.Reuse = new(mxmtest.RevokeFamily)
		p.report.find("reuse", "yes: the newest refresh token is refused, too", measured, confirmed)
	default:
		return err
	}
	return nil
}

// whichLives uses the first of two pairs that one refresh token has brought.
func (p *probe) whichLives(ctx context.Context, first, second *tokens) (mxmtest.GraceAnswer, error) {
	t, err := p.refreshed(ctx, first)
	if err == nil {
		p.spare = append(p.spare, t)
		return mxmtest.AnotherPair, nil
	}
	if !refusedToken(err) {
		return 0, err
	}
	return mxmtest.NewPair, p.judgeReuse(ctx, second)
}

// measureRace spends one refresh token several times at once.
func (p *probe) measureRace(ctx context.Context) error {
	if !p.rotates {
		p.report.find("loser", notRotated, "", open)
		return nil
	}
	t, err := p.living(ctx)
	if err != nil {
		return err
	}
	var (
		all     sync.WaitGroup
		answers [racers]*answer
		start   = make(chan struct{})
	)
	for i := range answers {
		all.Go(func() {
			<-start
			answers[i], _ = p.post(ctx, p.tokenURL, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {t.refresh}}, true)
		})
	}
	close(start)
	all.Wait()
	won, losers := 0, map[string]bool{}
	for _, a := range answers {
		switch {
		case a == nil:
		case a.status == http.StatusOK:
			won++
		default:
			losers[a.refusal.Error()] = true
		}
	}
	words := strings.Join(slices.Sorted(maps.Keys(losers)), ", ")
	switch {
	case len(losers) == 0:
		p.report.find("loser", fmt.Sprintf("cannot be known: all of %d at once succeed", won), "", open)
		return nil
	case strings.Contains(words, "invalid_request"):
		p.report.Profile.LoserInvalidRequest = new(true)
		p.report.find("loser", "no: "+words, measured, refuted)
	case strings.Contains(words, "invalid_grant"):
		p.report.Profile.LoserInvalidRequest = new(false)
		p.report.find("loser", "yes: "+words, measured, confirmed)
	default:
		p.report.find("loser", "no: "+words, measured, refuted)
	}
	p.report.how("loser", fmt.Sprintf("%s, %d at once; those that did not overlap got a replay's answer", measured, racers))
	return nil
}

// measureCut hangs up when a refresh has been sent.
func (p *probe) measureCut(ctx context.Context) error {
	t, err := p.living(ctx)
	if err != nil {
		return err
	}
	judged := p.sees() && !p.killsNone
	if judged {
		if _, alive, err := p.watch(ctx, t.access, true, t.sent, t.received, p.Patience); err != nil {
			return err
		} else if !alive {
			judged = false
		}
	}
	began := time.Now()
	if err := p.refreshAndHangUp(ctx, t.refresh); err != nil {
		p.report.find("cut", "not measured: "+err.Error(), "", open)
		return nil
	}
	if judged {
		_, dead, err := p.watch(ctx, t.access, false, began, time.Now(), p.patienceFor(t))
		if err != nil {
			return err
		}
		if dead {
			p.noteCut(true, measured+", and the old access token told it")
			return nil
		}
	} else if err := sleep(ctx, p.Patience); err != nil {
		return err
	}
	n, err := p.refreshed(ctx, t)
	switch {
	case refusedToken(err):
		p.noteCut(true, measured+", by using the refresh token again")
	case err != nil:
		return err
	case !judged && (p.graced || !p.rotates):
		p.report.find("cut", "cannot be known: the old tokens live on either way", "", open)
	default:
		p.noteCut(false, measured)
		p.spare = append(p.spare, n)
	}
	return nil
}

func (p *probe) noteCut(tookPlace bool, how string) {
	p.report.Profile.ForgetsCut = new(!tookPlace)
	if tookPlace {
		p.report.find("cut", "yes", how, confirmed)
	} else {
		p.report.find("cut", "no: the server forgot it", how, refuted)
	}
}

// measureRevocation revokes a refresh token, if the server advertises that.
func (p *probe) measureRevocation(ctx context.Context) error {
	p.report.Profile.Revocation = new(p.revocationURL != "")
	if p.revocationURL == "" {
		p.report.find("revocation", "no", announced, confirmed)
		return nil
	}
	t, err := p.living(ctx)
	if err != nil {
		return err
	}
	a, err := p.post(ctx, p.revocationURL, url.Values{"token": {t.refresh}, "token_type_hint": {"refresh_token"}}, true)
	if err != nil {
		return err
	}
	n, err := p.refreshed(ctx, t)
	switch {
	case refusedToken(err) && a.status == http.StatusOK:
		p.report.find("revocation", "yes, and it ends a refresh token", measured, refuted)
	case err == nil:
		p.spare = append(p.spare, n)
		p.report.Profile.Revocation = new(false)
		p.report.find("revocation", "announced, but the refresh token lives on; it answered "+a.refusal.Error(), measured, confirmed)
	default:
		p.report.find("revocation", "announced; it answered "+a.refusal.Error(), measured, open)
	}
	return nil
}

// measureGrace replays one spent refresh token, later and later.
func (p *probe) measureGrace(ctx context.Context) error {
	if !p.graced || p.Grace == 0 {
		return nil
	}
	old, err := p.living(ctx)
	if err != nil {
		return err
	}
	n, err := p.refresh(ctx, old.refresh)
	if err != nil {
		return err
	}
	var length span
	newest := n
	for _, age := range ages(p.Grace, callBudget-2) {
		if err := sleep(ctx, time.Until(n.received.Add(age))); err != nil {
			return err
		}
		sent := time.Now()
		t, err := p.refresh(ctx, old.refresh)
		if refusedToken(err) {
			length.high = time.Since(n.sent)
			break
		} else if err != nil {
			return err
		}
		length.low = sent.Sub(n.received)
		if t.refresh != "" {
			newest = t
		}
	}
	p.report.find("grace", "yes, "+length.String()+": a replay gets "+p.report.grace, measured+", by replays of one token", refuted)
	p.report.Profile.Grace = duration(length.low)
	if length.high == 0 {
		p.spare = append(p.spare, newest)
		return nil
	}
	return p.judgeReuse(ctx, newest)
}

// measureCodes collects codes, and exchanges them at different ages.
func (p *probe) measureCodes(ctx context.Context) error {
	if p.Codes == 0 {
		p.report.find("code", notAsked("-codes 10m"), "", open)
		return nil
	}
	type held struct {
		arrival  Arrival
		verifier string
	}
	var codes []held
	for range codeSteps {
		a, verifier, err := p.code(ctx)
		if err != nil {
			return err
		}
		codes = append(codes, held{a, verifier})
	}
	slices.Reverse(codes) // the newest can be tried youngest
	var length span
	for i, age := range ages(p.Codes, codeSteps) {
		c := codes[i]
		if err := sleep(ctx, time.Until(c.arrival.Received.Add(age))); err != nil {
			return err
		}
		sent := time.Now()
		t, err := p.exchange(ctx, c.arrival, c.verifier)
		if refusedToken(err) {
			length.high = time.Since(c.arrival.Sent)
			break
		} else if err != nil {
			return err
		}
		length.low = sent.Sub(c.arrival.Received)
		if t.refresh != "" {
			p.spare = append(p.spare, t)
		}
	}
	p.report.Profile.CodeLifetime = duration(length.low)
	p.report.find("code", length.String(), measured, verdict(length.low >= 30*time.Second))
	return nil
}

// measureRate calls token-metadata in a row, until it refuses. A second row, when it
// takes calls again, is counted from its beginning.
func (p *probe) measureRate(ctx context.Context) error {
	if !p.Rate || p.metadata == nil {
		if p.limited {
			p.report.find("rate", "yes: it has answered 429; how many it takes is not measured (-rate)", measured, refuted)
		} else {
			p.report.find("rate", notAsked("-rate"), "", open)
		}
		return nil
	}
	t, err := p.living(ctx)
	if err != nil {
		return err
	}
	left := callBudget
	row := func() (taken int, refused bool, wait time.Duration, err error) {
		for ; left > 0; taken++ {
			left--
			a, err := p.introspect(ctx, *p.metadata, t.access)
			if err != nil {
				return taken, false, 0, err
			}
			if a.status == http.StatusTooManyRequests {
				return taken, true, a.retryAfter, nil
			}
		}
		return taken, false, 0, nil
	}
	taken, refused, wait, err := row()
	if err != nil {
		return err
	}
	if !refused {
		p.report.Profile.MetadataCalls = new(0)
		p.report.find("rate", fmt.Sprintf("no: it takes %d calls in a row", taken), measured, confirmed)
		return nil
	}
	if err := sleep(ctx, max(wait, time.Second)); err != nil {
		return err
	}
	second, refusedAgain, wait, err := row()
	if err != nil {
		return err
	}
	words := fmt.Sprintf("yes: it takes %d calls in %s", second, wait)
	if !refusedAgain {
		words = fmt.Sprintf("yes: it takes at least %d calls in a row", second)
	}
	p.report.Profile.MetadataCalls = new(max(second, 1))
	if wait > 0 {
		p.report.Profile.MetadataWindow = duration(wait)
	}
	p.report.find("rate", words, measured, refuted)
	return nil
}

func notAsked(flag string) string { return "not measured: it was not asked for (" + flag + ")" }
