package grant

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// P6: whom a conflict is decided for. The order of the rules counts.
func TestDispositionOf(t *testing.T) {
	mine := grant{GrantID: "g", Generation: 8, Access: "a", Refresh: "r", Status: statusLive}
	const old = 7
	with := func(change func(*grant)) grant {
		g := grant{GrantID: "g", Generation: old, Access: "a0", Refresh: "r0", Status: statusLive}
		change(&g)
		return g
	}
	for name, c := range map[string]struct {
		stored grant
		found  bool
		want   disposition
	}{
		"the store regressed":                 {with(func(g *grant) { g.Generation = 6 }), true, overwrite},
		"to a grant that was replaced":        {with(func(g *grant) { g.Generation, g.GrantID = 6, "before" }), true, overwrite},
		"to a mark":                           {with(func(g *grant) { g.Generation, g.Status = 6, statusReconnect }), true, overwrite},
		"missing":                             {grant{}, false, drop},
		"tombstone":                           {with(func(g *grant) { g.Generation, g.Status = 8, statusDisconnected }), true, drop},
		"another login":                       {with(func(g *grant) { g.Generation, g.GrantID = 9, "other" }), true, drop},
		"mine":                                {mine, true, alreadyStored},
		"mine, marked since":                  {with(func(g *grant) { *g = mine; g.Status = statusReconnect }), true, alreadyStored},
		"others at my gen":                    {with(func(g *grant) { g.Generation, g.Access, g.Refresh = 8, "b", "s" }), true, askServer},
		"others later":                        {with(func(g *grant) { g.Generation, g.Access, g.Refresh = 12, "b", "s" }), true, askServer},
		"others later, marked":                {with(func(g *grant) { g.Generation, g.Access, g.Status = 12, "b", statusReconnect }), true, askServer},
		"a mark that came too early":          {with(func(g *grant) { g.Status = statusReconnect }), true, overwrite},
		"a foreign intent on the spent token": {with(func(g *grant) { g.Intent = &intent{ID: "x"} }), true, overwrite},
		"no intent on the spent token":        {with(func(*grant) {}), true, overwrite},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, dispositionOf(old, mine, c.stored, c.found)) })
	}
}

func TestTimingFollowsFromTheFirst(t *testing.T) {
	d := timingFrom(30 * time.Second)
	require.Equal(t, timing{refreshTimeout: 30 * time.Second, intentLease: 45 * time.Second, confirmWait: 15 * time.Second, sendBudget: 2 * time.Second}, d)
	require.Equal(t, 250*time.Millisecond, timingFrom(time.Second).sendBudget)
	for _, timeout := range []time.Duration{time.Second, 7 * time.Second, 5 * time.Minute} {
		d := timingFrom(timeout)
		require.LessOrEqual(t, d.sendBudget+d.refreshTimeout, d.intentLease, "others wait until the POST is over")
	}
	require.Equal(t, 90*time.Second, d.window(time.Hour, 0))
	require.Equal(t, 60*time.Second, d.window(300*time.Second, 0), "20 % of the life")
	for range 1000 {
		w := d.window(time.Hour, jitter())
		require.GreaterOrEqual(t, w, 90*time.Second, "jitter only enlarges")
		require.Less(t, w, 113*time.Second)
		b := d.backoff(3)
		require.GreaterOrEqual(t, b, 800*time.Millisecond)
		require.Less(t, b, time.Second)
	}
	require.Less(t, d.backoff(1000), 19*time.Second)
}

// Instances differ in their leases. The longer one counts, and an intent of the
// first format, which has none, counts for four.
func TestLeaseOfAnotherInstance(t *testing.T) {
	d := timingFrom(30 * time.Second)
	for written, want := range map[time.Duration][2]time.Duration{
		0:               {3 * time.Minute, 15 * time.Second},
		9 * time.Second: {45 * time.Second, 15 * time.Second},
		3 * time.Minute: {3 * time.Minute, time.Minute},
	} {
		in := &intent{Lease: written}
		require.Equal(t, want, [2]time.Duration{d.leaseOf(in), d.waitOf(in)})
	}
	require.Equal(t, 15*time.Second, d.waitOf(nil))
}

func TestSchedule(t *testing.T) {
	m, _ := newTestManager(t, &fakeServer{})
	for expiresIn, want := range map[time.Duration]time.Duration{-time.Second: 30 * time.Second, 29 * time.Second: 30 * time.Second, time.Minute: time.Minute} {
		due, life := m.Schedule(expiresIn)
		require.Equal(t, want, life)
		require.LessOrEqual(t, due, want*4/5)
		require.GreaterOrEqual(t, due, want*3/4)
	}
}

// Only an unbroken row of inactive that is long enough proves that a token is spent.
func TestProbesInARow(t *testing.T) {
	const apart = 15
	w := watch{dead: true}
	for _, c := range []struct {
		v     verdict
		now   time.Duration
		spent bool
	}{
		{noAnswer, 90, false},
		{inactive, 100, false},
		{noAnswer, 110, false},
		{inactive, 114, false},
		{active, 116, false},
		{inactive, 117, false},
		{blind, 140, false},
		{inactive, 131, false},
		{inactive, 132, true},
		{inactive, 133, true},
		{active, 134, false},
	} {
		w.probed(c.v, c.now, apart)
		require.Equal(t, c.spent, w.provenSpent, c)
		require.Equal(t, c.now < 116, w.dead, c)
	}
}

// However long a doubt lasts, little is remembered of it: the intent that is
// stored, in any case.
func TestAttemptsAreBounded(t *testing.T) {
	var d attempts
	var stored *intent
	for n := range 1000 {
		in := &intent{ID: fmt.Sprint(n), Attempt: n + 1}
		d.add(in, stored, false).sent = true
		require.LessOrEqual(t, len(d.own), maxOwnIntents)
		require.True(t, stored == nil || d.of(stored) != nil)
		stored = in
	}
}

// The store is rid of what nobody comes back for: a refused import after 30 days,
// a user's mark after 90, however often it is written, a tombstone after one.
func TestMarksExpire(t *testing.T) {
	m, store := newTestManager(t, &fakeServer{})
	now := time.Now()
	for _, c := range []struct {
		gr      grant
		expires time.Duration
	}{
		{grant{Sub: importPrefix + "x", Status: statusReconnect, Since: now}, importedLife},
		{grant{Sub: "mxm:1", Status: statusReconnect, Since: now}, markLife},
		{grant{Sub: "mxm:2", Status: statusReconnect, Since: now.Add(-80 * 24 * time.Hour)}, markLife - 80*24*time.Hour},
		{grant{Sub: "mxm:3", Status: statusDisconnected}, tombstoneLife},
	} {
		_, err := m.records.commit(t.Context(), "", c.gr)
		require.NoError(t, err)
		rec, found, err := store.FindGrant(t.Context(), m.records.key(c.gr.Sub))
		require.NoError(t, err)
		require.True(t, found)
		require.WithinDuration(t, now.Add(c.expires), rec.Expiry, time.Minute)
	}
}

// A late answer may still find the tokens of a mark; after a day none can.
func TestMarkKeepsNoTokens(t *testing.T) {
	m, _ := newTestManager(t, &fakeServer{})
	for _, c := range []struct {
		age  time.Duration
		want string
	}{{markTokens - time.Minute, "token"}, {markTokens, ""}} {
		sub := c.age.String()
		_, err := m.records.commit(t.Context(), "", grant{Sub: sub, Status: statusReconnect, Since: time.Now().Add(-c.age), Access: "token", Refresh: "token"})
		require.NoError(t, err)
		gr, _, _, err := m.records.find(t.Context(), sub)
		require.NoError(t, err)
		require.Equal(t, []string{c.want, c.want}, []string{gr.Access, gr.Refresh})
	}
}

func TestNobodyIsRememberedForNothing(t *testing.T) {
	m, _ := newTestManager(t, &fakeServer{})
	for n := range 100 {
		_, err := m.Token(t.Context(), fmt.Sprint("nobody ", n))
		require.Equal(t, Reconnect, outcomeOf(err))
		require.Eventually(t, func() bool { return m.entries.find(fmt.Sprint("nobody ", n)) == nil }, time.Second, time.Millisecond)
	}
}
