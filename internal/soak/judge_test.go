//go:build unix

package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mxmconnect/mxmconnect/core/mxmtest"
)

// What is at the floor, and what is not, for a refresh that was sent ten
// seconds ago by a process that 2.1 stands for, with a refresh timeout of 2 s.
func TestCause(t *testing.T) {
	now := time.Now()
	at := func(seconds float64) time.Time { return now.Add(time.Duration((seconds - 10) * float64(time.Second))) }
	by := func(i *incarnation, seconds float64) *presentation { return &presentation{by: i, at: at(seconds)} }
	other := &incarnation{name: "1.1"}
	for name, c := range map[string]struct {
		change func(*ledger, *family)
		floor  string // "": above
	}{
		"no refresh":          {func(_ *ledger, f *family) { f.last = nil }, ""},
		"alive":               {func(*ledger, *family) {}, ""},
		"answer lost":         {func(_ *ledger, f *family) { f.last.fault.loses = true }, answerLost},
		"gave up in time":     {func(_ *ledger, f *family) { f.last.fate, f.last.took = gone, 6*time.Second }, answerLate},
		"gave up early":       {func(_ *ledger, f *family) { f.last.fate, f.last.took = gone, time.Second }, ""},
		"answered late, seen": {func(_ *ledger, f *family) { f.last.took, f.last.oldExpires = 4*time.Second, at(3.1) }, ""},
		"answered late":       {func(_ *ledger, f *family) { f.last.took, f.last.oldExpires = 4*time.Second, at(2.9) }, lateBlind},
		"not answered yet":    {func(_ *ledger, f *family) { f.last.fate, f.last.took, f.last.arrived = underWay, 0, at(7) }, lateBlind},
		"killed, waiting":     {func(_ *ledger, f *family) { f.last.took, f.last.by.killed = 5*time.Second, at(4) }, killedEarly},
		"stopped, waiting": {func(_ *ledger, f *family) {
			f.last.took, f.last.oldExpires, f.last.by.pauses = 5*time.Second, at(20), []stoppage{{at(3), at(4)}}
		}, pausedPost},
		"killed at once":      {func(_ *ledger, f *family) { f.last.by.killed = at(.2) }, killedEarly},
		"killed before":       {func(_ *ledger, f *family) { f.last.by.killed, f.last.carriedOut = at(.1), at(.3) }, killedEarly},
		"killed late":         {func(_ *ledger, f *family) { f.last.by.killed = at(5) }, ""},
		"killed when stored":  {func(_ *ledger, f *family) { f.last.by.killed, f.last.stored = at(1), "1.1 calls" }, ""},
		"lost, and stored":    {func(_ *ledger, f *family) { f.last.fault.loses, f.last.stored = true, "1.1 calls" }, ""},
		"no store, killed":    {func(l *ledger, f *family) { l.spans[0].from, l.spans[0].to = at(0), at(6); f.last.by.killed = at(7) }, killedEarly},
		"stopped, killed":     {func(_ *ledger, f *family) { f.last.by.pauses, f.last.by.killed = []stoppage{{at(.5), at(8)}}, at(8) }, killedEarly},
		"replayed by another": {func(_ *ledger, f *family) { f.revoked = by(other, 10) }, ""},
		"replayed by itself":  {func(_ *ledger, f *family) { f.revoked = by(f.last.by, 10) }, ""},
		"stopped, replayed": {func(_ *ledger, f *family) {
			f.last.by.pauses, f.revoked = []stoppage{{at(.5), time.Time{}}}, by(other, 10)
		}, pausedBlind},
		"stopped, not blind": {func(_ *ledger, f *family) {
			f.last.by.pauses, f.revoked, f.last.oldExpires = []stoppage{{at(.5), time.Time{}}}, by(other, 10), at(20)
		}, ""},
		"stopped for a moment":   {func(_ *ledger, f *family) { f.last.by.pauses, f.revoked = []stoppage{{at(.5), at(3)}}, by(other, 10) }, ""},
		"went on, did not write": {func(_ *ledger, f *family) { f.last.by.pauses, f.revoked = []stoppage{{at(.5), at(6)}}, by(other, 10) }, ""},
		"stopped in the refresh": {func(_ *ledger, f *family) {
			f.last.by.pauses, f.revoked = []stoppage{{at(.1), at(3)}}, by(f.last.by, 10)
		}, pausedPost},
		"no store, replayed": {func(l *ledger, f *family) { l.spans[0].from, l.spans[0].to, f.revoked = at(0), at(10), by(other, 10) }, ""},
		"no store for long": {func(l *ledger, f *family) {
			l.spans[0].from, l.spans[0].to, f.last.carriedOut, f.revoked = at(-3), at(10), at(-2.5), by(other, 10)
		}, cutOffBlind},
		"no store in two pieces": {func(l *ledger, f *family) { // which overlap, so that it was there for more than it could take
			l.spans[0].from, l.spans[0].to, f.revoked = at(.2), at(4), by(other, 10)
			l.spans = append(l.spans, &span{instance: everywhere, from: at(1), to: at(4)})
			f.last.arrived, f.last.carriedOut = at(-4), at(-3.9)
			f.last.by.pauses = []stoppage{{at(-3.9), at(.2)}}
		}, ""},
	} {
		l := newLedger(2*time.Second, time.Minute)
		l.spans = []*span{{instance: everywhere, from: at(-100), to: at(-90)}}
		f := &family{refresh: 2, last: &rotation{by: &incarnation{name: "2.1"}, arrived: at(0), carriedOut: at(.1), took: 200 * time.Millisecond, fate: sent, oldExpires: at(0)}}
		c.change(l, f)
		cause, floor := l.why(f, now)
		require.Equal(t, c.floor != "", floor, "%s: %s", name, cause)
		if floor {
			require.Equal(t, c.floor, cause, name)
		}
	}
}

func TestHealthFindsGrowth(t *testing.T) {
	h := &health{factor: 2}
	r := h.row("1.1")
	*r = reading{"1.1", usageOf{10, 1 << 20}, usageOf{100, 4 << 20}, usageOf{20, 16 << 20}}
	require.Empty(t, h.problems())
	r.end = usageOf{21, 16<<20 + 1}
	require.Len(t, h.problems(), 2)
	h.row("2.7").end = usageOf{21, 100 << 20} // started late: its heap cannot be compared
	require.Len(t, h.problems(), 3)
}

// A failure is explained by a fault at its time and place, and for a while
// longer for those who had work under way there.
func TestExplained(t *testing.T) {
	l := newLedger(time.Second, time.Minute)
	ada, ben := l.account("ada"), l.account("ben")
	l.sending("ada", 1)
	s := l.begin(kill, 1, "")
	now := time.Now()
	s.from, s.to = now.Add(-10*time.Second), now.Add(-5*time.Second)
	ask := func(a *account, instance int, ago time.Duration) bool {
		return l.explained(a, instance, now.Add(-ago), now.Add(-ago+time.Millisecond))
	}
	require.True(t, ask(ben, 1, 7*time.Second))
	require.False(t, ask(ben, 0, 7*time.Second), "another instance")
	require.True(t, ask(ada, 0, 7*time.Second), "a refresh of hers is in doubt")
	require.True(t, ask(ada, 0, 1*time.Second))
	require.True(t, ask(ben, 1, 4*time.Second), "it has only just started")
	require.False(t, ask(ben, 1, 2*time.Second))
	require.False(t, ask(ada, 1, 12*time.Second), "before")
	require.False(t, ask(ada, 0, -8*time.Second), "long after")
}

// A session may end because its user was away, and for no other reason.
func TestSignedOut(t *testing.T) {
	l := newLedger(time.Second, time.Minute)
	enter := func(ago time.Duration, o outcome) {
		l.sending("ada", 0)
		l.enter("ada", 0, "/call", time.Now().Add(-ago), o)
	}
	enter(time.Minute, outcome{status: 200})
	enter(0, outcome{status: 401, code: "not_signed_in"})
	l.signedOut("ada")
	require.Empty(t, l.losses)
	require.Equal(t, 1, l.counts["sessions that ended because the user was away"])
	enter(58*time.Second, outcome{status: 200})
	enter(0, outcome{status: 401, code: "not_signed_in"})
	l.signedOut("ada")
	require.Len(t, l.losses, 1)
	require.False(t, l.losses[0].floor)
}

// Of two logins that overlap the older may be stored last. It is the one to judge.
func TestTheLoginInUseIsJudged(t *testing.T) {
	l := newLedger(time.Second, time.Minute)
	l.born(0, 1)
	for id := range 2 {
		l.carriedOut(mxmtest.Request{GrantType: "authorization_code", UserID: "ada", Family: id + 1, Outcome: mxmtest.OK}, tokens{})
	}
	l.signedIn("ada")
	refresh := mxmtest.Request{GrantType: "refresh_token", UserID: "ada", Family: 1, Header: http.Header{byHeader: {"1.1"}, idHeader: {"7"}}}
	l.arrived(refresh, tokenFault{kind: lost, loses: true})
	refresh.Outcome = mxmtest.OK
	l.carriedOut(refresh, tokens{})
	l.answered("7", false, false)
	require.True(t, l.mustConnect("ada", false))
	require.Equal(t, []loss{{what: "must connect again", userID: "ada", floor: true, cause: answerLost}}, l.losses)
}

// A taker presents a spent token after four leases without a store. The holder
// writes while that is under way, which is too late to be held against anybody.
func TestThePresentationIsJudgedWhenItArrives(t *testing.T) {
	l := newLedger(time.Second, time.Minute)
	for i := range 3 {
		l.born(i, 1)
	}
	books := func(by, id string, spent bool, outcome string) mxmtest.Request {
		return mxmtest.Request{GrantType: "refresh_token", UserID: "ada", Family: 1, Token: "a2", Spent: spent, Outcome: outcome, Header: http.Header{byHeader: {by}, idHeader: {id}}}
	}
	l.carriedOut(mxmtest.Request{GrantType: "authorization_code", UserID: "ada", Family: 1, Outcome: mxmtest.OK}, tokens{})
	l.arrived(books("1.1", "1", false, ""), tokenFault{})
	l.carriedOut(books("1.1", "1", false, mxmtest.OK), tokens{Access: "a2"})
	l.answered("1", true, false)
	f := l.families[1]
	f.last.arrived, f.last.carriedOut = f.last.arrived.Add(-10*time.Second), f.last.carriedOut.Add(-10*time.Second)
	l.begin(crash, everywhere, "").from = f.last.carriedOut

	l.arrived(books("2.1", "2", true, ""), tokenFault{})
	l.called(books("3.1", "3", false, ""))
	require.NotEmpty(t, f.last.stored)
	l.carriedOut(books("2.1", "2", true, "invalid_grant"), tokens{})
	require.Equal(t, cutOffBlind, f.revoked.cause)
	require.True(t, f.revoked.floor)
}
